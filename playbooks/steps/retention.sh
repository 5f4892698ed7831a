# shellcheck shell=sh disable=SC2034,SC2154
# retention STATE REPOSITORY HOST APP KEEP-OPTION...: let old backups expire, and their records with them.
state=$1
repository=$2
host=$3
app=$4
shift 4

# include room.sh
# include restic.sh

payload_line() { :; }
read_payload
[ -n "$(find "$state/backups" -name '*.json' 2>/dev/null | head -n 1)" ] || exit 0
need restic jq
scratch=$(mktemp -d "$state/retention.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
# Grouped by host alone: each backup has tags and paths of its own, which would make every one its group's last.
run_restic "$scratch/forget" forget --json --quiet --prune --group-by host --host "$host" --tag "slipway,app=$app" "$@"
# With --prune, text may follow the document: only the document's line counts.
grep '^\[' "$scratch/forget" >"$scratch/document" || :
ids() { jq -r ".[].$1 // [] | .[].tags[] | select(startswith(\"id=\")) | ltrimstr(\"id=\")" "$scratch/document"; }
ids remove >"$scratch/gone"
# A run before this one may have been killed between the snapshots' end and their records': what is recorded there and
# was not kept is gone. Where nothing at all was kept, that says more about the repository than about the records.
ids keep >"$scratch/kept"
if [ -s "$scratch/kept" ]; then
    cat "$scratch/kept" "$scratch/gone" >"$scratch/known"
    for record in "$state"/backups/*.json; do
        id=$(basename "$record" .json)
        if ! grep -qxF -e "$id" "$scratch/known" && [ "$(jq -r .repository "$record")" = "$repository" ]; then
            printf '%s\n' "$id" >>"$scratch/gone"
        fi
    done
fi
while IFS= read -r id; do
    rm -f "$state/backups/$id.json" "$state/backups/$id.manifest"
    emit expired "$id"
done <"$scratch/gone"
