# shellcheck shell=sh disable=SC2034
# retention STATE REPOSITORY HOST KEEP-OPTION...: let old backups expire, and their records with them.
state=$1
repository=$2
host=$3
shift 3

# include restic.sh

payload_line() { :; }
scratch=$(mktemp -d "$state/retention.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
read_payload
[ -n "$(find "$state/backups" -name '*.json' 2>/dev/null | head -n 1)" ] || exit 0
# Grouped by host alone: each backup has a tag and paths of its own, which would make every one its group's last.
run_restic "$scratch/forget" forget --json --quiet --prune --group-by host --host "$host" --tag slipway "$@"
run_restic "$scratch/left" snapshots --json --host "$host" --tag slipway
jq -r '.[].id' "$scratch/left" >"$scratch/ids"
for record in "$state"/backups/*.json; do
    snapshot=$(jq -r .snapshot "$record")
    grep -qF -e "$snapshot" "$scratch/ids" && continue
    id=$(basename "$record" .json)
    rm -f "$record" "$state/backups/$id.manifest"
    emit expired "$id"
done
