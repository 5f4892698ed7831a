# shellcheck shell=sh disable=SC2154
# migration_files: send the SQL files of a release. Changes nothing.
# needs: home user release folder most_bytes
#
# What they say runs as the user that migrates, so they are read only where root alone can change them, and in the release: not in
# what the application's user may write, nor where a link leads elsewhere, perhaps to a file that only root may read. Root reads
# them, since whoever reads as the application's user is in the hands of that user's other processes. Emits: file NAME BASE64 for each.

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
    [ "$sum" -le "$most_bytes" ] || fail usage "the SQL files in $folder of release $release have more than $((most_bytes / 1024 / 1024)) MB"
    emit file "${file##*/}" "$(base64 -w 0 "$real")"
done
emit read
