# shellcheck shell=sh disable=SC2034,SC2154
# retention: let old backups expire, and their records with them.
# needs: app state host repository user
# Standard input, see restic.sh and backup_methods.sh: secret NAME VALUE; and how databases are backed up.
# words: OPTION...: what restic is to keep
#
# Whoever else has the repository's password writes into it what he likes, so no tag counts here: a record goes with its
# own snapshot, by the name that restic itself gives that.

# include disk_space.sh
# include restic.sh
# include postgres.sh
# include backup_methods.sh
# include names.sh
# include programs.sh

database_limit=60
# What says how databases are backed up is kept only when something may expire.
payload_line() {
    case $1 in
        method | option | variable) method_line "$@" ;;
    esac
}
[ -n "$(find "$state/backups" -name '*.json' 2>/dev/null | head -n 1)" ] || {
    cat >/dev/null
    exit 0
}
require_programs "$user"
need restic jq
scratch=$(mktemp -d "$state/retention.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
read_payload

# delete_databases RECORD: delete what is elsewhere of a backup. If that fails, its record stays, so that the next run tries again.
delete_databases() {
    jq -c '.databases[]? | select((.method // "dump") != "dump")' "$1" >"$scratch/entries"
    while IFS= read -r entry; do
        printf '%s\n' "$entry" >"$scratch/of.json"
        name=$(jq -r '.name | strings' "$scratch/of.json")
        method_of_backup "$scratch/of"
        "${method}_delete" "$scratch/of.json" "$id" && continue
        emit strange "backup $id has expired, and the snapshot of its database $name could not be deleted: $said"
        return 1
    done <"$scratch/entries"
}

# Grouped by host alone: each backup has tags and paths of its own, which would make every one its group's last.
run_restic "$scratch/forget" forget --json --quiet --prune --group-by host --host "$host" --tag "slipway,app=$app" "$@"
# With --prune, text may follow the document: only the document's line counts.
grep '^\[' "$scratch/forget" >"$scratch/document" || :
# A run before this one may have been killed between the snapshots' end and their records': what is recorded there and
# was not kept is gone, too. Where nothing at all was kept, that says more about the repository than about the records.
# shellcheck disable=SC2016
jq -nRr --arg repository "$repository" --slurpfile forgotten "$scratch/document" '
    [$forgotten[][] | .remove // [] | .[].id] as $removed | [$forgotten[][] | .keep // [] | .[].id] as $kept |
    inputs | (fromjson? // {}) | select(type == "object" and (.snapshot | type == "string" and test("^[0-9a-f]{8,64}$"))) |
    .snapshot as $own | select(any($removed[]; startswith($own)) or
        ($kept != [] and .repository == $repository and all($kept[]; startswith($own) | not))) | input_filename
' "$state"/backups/*.json >"$scratch/gone"
while IFS= read -r record; do
    id=$(basename "$record" .json)
    is_stamped "$id" || continue
    delete_databases "$record" || continue
    rm -f "$state/backups/$id.json" "$state/backups/$id.manifest"
    emit expired "$id"
done <"$scratch/gone"
strange=$(jq '[.[] | .keep // [], .remove // [] | .[].tags[] | select(startswith("id=")) |
    select(test("^id=[0-9]{8}T[0-9]{6}Z(-[A-Za-z0-9][A-Za-z0-9._+-]{0,63})?$") | not)] | length' "$scratch/document")
[ "${strange:-0}" -eq 0 ] ||
    emit strange "$strange of its snapshots in $repository bear tags that it never gives, and which were ignored: who else has the password?"
