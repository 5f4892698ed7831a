# shellcheck shell=sh disable=SC2154
# migration_files: send the SQL files of a release. Changes nothing.
# needs: home user release folder most_bytes
#
# Links are followed only as far as the application's user may read what they lead to: that user reads them. Emits: file NAME
# BASE64 for each.

# include root_only.sh
# include names.sh

need base64
require_stamped release "$release"
place=$home/releases/$release/$folder
[ -d "$place" ] || fail no-migrations "release $release has no folder $folder, which slipway_databases names for its migrations"
real_release=$(readlink -f "$home/releases/$release")
sum=0
for file in "$place"/*.sql; do
    [ -f "$file" ] || continue
    real=$(readlink -f "$file")
    case $real in
        "$real_release"/.slipway/*) real= ;;
        "$real_release"/*) ;;
        *) real= ;;
    esac
    [ -n "$real" ] || fail usage "$file is a link to what is not in the release; put the file itself there"
    find_foreign "$real"
    [ -z "$foreign" ] || fail usage "$user, or somebody else than root, can change $foreign, so the SQL in it is not run; put it where nobody can write: not into slipway_writable or slipway_shared"
    size=$(stat -c %s "$real")
    sum=$((sum + size))
    [ "$sum" -le "$most_bytes" ] ||
        fail usage "the SQL files in $folder of release $release have more than $((most_bytes / 1024 / 1024)) MB"
    # shellcheck disable=SC2016
    content=$(as_user_for 30 "$user" cat "$file" | base64 -w 0 && echo .) || fail usage "$file cannot be read by $user"
    emit file "${file##*/}" "${content%?}"
done
emit read
