# shellcheck shell=sh disable=SC2034
# backup HOME STATE ID RELEASE VERSION REPOSITORY HOST KIND
#
# Back up what this host has: the running release (RELEASE, or "-"), named data, SQLite copies, PostgreSQL dumps; one
# restic snapshot, one record. Standard input, see restic.sh: secret NAME VALUE; path P; exclude P; sqlite P;
# database NAME HOST PORT USER PASSWORD.
home=$1
state=$2
id=$3
release=$4
version=$5
repository=$6
host=$7
kind=$8

# include restic.sh

need restic jq
scratch=$state/backup.d
mkdir -p "$state/backups"
rm -rf "$scratch"
mkdir -p "$scratch/databases" "$scratch/sqlite"
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
began=$(date +%s)
: >"$scratch/paths"
: >"$scratch/excludes"
: >"$scratch/manifest"

payload_line() {
    case $1 in
        path) [ ! -e "$2" ] || printf '%s\n' "$2" >>"$scratch/paths" ;;
        exclude) printf '%s\n' "$2" >>"$scratch/excludes" ;;
        sqlite) copy_sqlite "$2" ;;
        database) dump_database "$2" "$3" "$4" "$5" "${6:-}" ;;
        *) fail usage "unknown line '$1'" ;;
    esac
}

copy_sqlite() {
    [ -f "$1" ] || return 0
    need sqlite3
    copy=$scratch/sqlite/$(printf '%s' "${1#/}" | tr / _)
    sqlite3 -cmd '.timeout 10000' "$1" ".backup '$copy'" 2>"$scratch/err" ||
        fail sqlite "cannot copy $1: $(tr '\n' ' ' <"$scratch/err" | cut -c1-200)"
}

dump_database() {
    name=$1 db_host=$2 db_port=$3 db_user=$4 db_password=$5
    need pg_dump
    dump=$scratch/databases/$name.dump
    pg pg_dump --format=custom --dbname="$name" >"$dump" 2>"$scratch/err" ||
        fail database "cannot dump database $name: $(tr '\n' ' ' <"$scratch/err" | cut -c1-300)"
    # What cannot be listed cannot be restored; an empty file would pass every check that restic has.
    pg_restore --list "$dump" >/dev/null 2>&1 || fail database "the dump of $name is not readable"
}

read_payload
if [ "$release" != - ]; then
    printf '%s\n' "$home/releases/$release" >>"$scratch/paths"
    sed "s|  \./|  $home/releases/$release/|" "$home/releases/$release/.slipway/manifest" >>"$scratch/manifest"
fi
if [ -d "$home/shared" ] && [ "$kind" = application ]; then printf '%s\n' "$home/shared" >>"$scratch/paths"; fi
find "$scratch/databases" "$scratch/sqlite" -type f -exec sha256sum {} + >>"$scratch/manifest"
if ! [ -s "$scratch/paths" ] && ! [ -s "$scratch/manifest" ]; then
    emit nothing
    exit 0
fi
printf '%s\n' "$scratch/databases" "$scratch/sqlite" >>"$scratch/paths"
need_repository "$state/backups"
run_restic "$scratch/answer" backup --json --quiet --host "$host" --tag slipway --tag "$id" \
    --files-from-verbatim "$scratch/paths" --exclude-file "$scratch/excludes"
summary=$(grep '"message_type":"summary"' "$scratch/answer" | tail -n 1)
[ -n "$summary" ] || fail restic 'restic gave no summary; is it a version other than 0.12 to 0.18?'
mv -f "$scratch/manifest" "$state/backups/$id.manifest"
jq --compact-output --null-input --arg id "$id" --arg host "$host" --arg kind "$kind" --arg release "${release#-}" \
    --arg version "$version" --arg repository "$repository" --argjson summary "$summary" --arg began "$began" \
    --arg databases "$(cd "$scratch/databases" && ls)" '{id: $id, created: (now | todate), host: $host, kind: $kind,
    release: $release, version: $version, snapshot: $summary.snapshot_id, repository: $repository,
    bytes: $summary.total_bytes_processed, files: $summary.total_files_processed, added: $summary.data_added,
    databases: ($databases | split("\n") | map(select(. != "") | rtrimstr(".dump"))),
    seconds: ((now | floor) - ($began | tonumber))}' | replace_file "$state/backups/$id.json"
emit record "$(cat "$state/backups/$id.json")"
