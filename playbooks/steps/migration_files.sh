# shellcheck shell=sh disable=SC2154
# migration_files HOME RELEASE FOLDER USER MOST-BYTES: send the SQL files of a release. Changes nothing.
#
# Links are followed only as far as the application's user may read what they lead to: that user reads them. Emits: file NAME
# BASE64 for each.
home=$1
release=$2
folder=$3
user=$4
most=$5

# include as_user.sh
# include names.sh

need base64
require_stamped release "$release"
place=$home/releases/$release/$folder
[ -d "$place" ] || fail no-migrations "release $release has no folder $folder, which slipway_databases names for its migrations"
sum=0
for file in "$place"/*.sql; do
    [ -f "$file" ] || continue
    size=$(stat -L -c %s "$file")
    sum=$((sum + size))
    [ "$sum" -le "$most" ] || fail usage "the SQL files in $folder of release $release have more than $((most / 1024 / 1024)) MB"
    # shellcheck disable=SC2016
    content=$(as_user_for 30 "$user" cat "$file" | base64 -w 0 && echo .) || fail usage "$file cannot be read by $user"
    emit file "${file##*/}" "${content%?}"
done
emit read
