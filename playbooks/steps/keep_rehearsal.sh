# shellcheck shell=sh
# keep_rehearsal STATE DATABASE: keep what a rehearsal has found, for the deploy that asks for it. Standard input: one line of JSON.
state=$1
database=$2

mkdir -p "$state/rehearsals"
IFS= read -r document || :
[ -n "$document" ] || fail cut 'the rehearsal did not arrive whole'
put_line "$state/rehearsals/$database.json" "$document"
emit kept
