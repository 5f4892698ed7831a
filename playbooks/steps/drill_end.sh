# shellcheck shell=sh disable=SC2034,SC2154
# drill_end: remove everything that a drill made. Unless document is empty, write it down: what the drill found, for preflight
# and status. Standard input, see restic.sh: database NAME HOST PORT USER PASSWORD MIN-TABLES.
# needs: app state folder document user
repository=
database_limit=60

# include disk_space.sh
# include restic.sh
# include postgres.sh
# include backup_methods.sh
# include programs.sh

systemctl stop "slipway-$app-drill-release.service" 2>/dev/null || :
refuse_programs "$user"
mkdir -p "$state"
scratch=$(mktemp -d "$state/drill.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
payload_line() {
    [ "$1" = database ] || return 0
    shift
    use_database "$@"
    dump_drill_end
}
read_payload
# A drill makes nothing in a place that others can change (drill.sh).
find_foreign "$folder"
if [ -z "$foreign" ]; then
    pgbackrest_drill_end "$folder" "$app"
    rm -rf "$folder/root" "$folder/work" "$folder/tree"
    rmdir "$folder" 2>/dev/null || :
fi
[ -z "$document" ] || printf '%s\n' "$document" | replace_file "$state/verified.json"
emit ended
