# shellcheck shell=sh disable=SC2154
# keep_rehearsal: keep what a rehearsal has found, for the deploy that asks for it. Standard input: one line of JSON.
# needs: state database phase
#
# phase: contract for a rehearsal of contracts, else expand: one does not replace the other.

folder=$state/rehearsals
[ "$phase" != contract ] || folder=$folder/contracts
mkdir -p "$folder"
IFS= read -r document || :
[ -n "$document" ] || fail cut 'the rehearsal did not arrive whole'
put_line "$folder/$database.json" "$document"
emit kept
