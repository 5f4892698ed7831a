# shellcheck shell=sh
# drill_record STATE DOCUMENT: what the drill found, where preflight and status read it.
mkdir -p "$1"
printf '%s\n' "$2" | replace_file "$1/verified.json"
