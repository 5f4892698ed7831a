# shellcheck shell=sh disable=SC2154
# prove: whether the last backup of the running release still holds all there is to back up, by all that can be seen of
# files without reading them. Changes nothing.
# needs: home state release repository covers user
# words: PATH...: the data that the settings name

# include root_only.sh
# include data_paths.sh
# include fingerprint.sh
# include programs.sh

changed() {
    emit changed "$1"
    exit 0
}
require_programs "$user"
need flock jq
[ -d "$state/backups" ] || changed 'there is no backup yet'
# The backup that the last deploy began may still be running.
exec 8>>"$state/backup.lock"
flock -w 120 8 || changed 'another backup is at work'
# The same paths as in backup.sh, in its order. Paths that it refuses are left to its own messages.
for path in "$@"; do
    [ -e "$path" ] || changed "$path is gone"
    add_data "$path" || changed "$why"
done
add_shared || changed "$why"
add_release "$home/releases/$release"
settle_data
set -- "$home/releases/$release"
while IFS= read -r path; do [ -z "$path" ] || set -- "$@" "$path"; done <<EOF
$data_paths
EOF
# Ids begin with their time, so their order is that of time.
found=$(jq -r --arg release "$release" --arg repository "$repository" --arg covers "$covers" \
    'select(.release == $release and .repository == $repository and .covers == $covers) | "\(.id) \(.snapshot) \(.data)"' \
    "$state"/backups/*.json 2>/dev/null) || :
found=${found##*"$newline"}
[ -n "$found" ] || changed 'this release has no backup yet'
id=${found%% *}
data=${found##* }
snapshot=${found#* }
snapshot=${snapshot% *}
# A remote repository is not asked, because that would take the time that this step saves. Every drill asks it.
case $repository in
    /*) [ -f "$repository/snapshots/$snapshot" ] || changed "backup $id is not in its repository any more" ;;
esac
[ "$(fingerprint "$@")" = "$data" ] || changed "files have changed since backup $id"
emit stands "$id"
