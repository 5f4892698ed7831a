# shellcheck shell=sh
# rendered HOME: the current release's rendered files and units, for a diff. Changes nothing.
meta=$1/current/.slipway
[ -f "$meta/config" ] || exit 0
while IFS= read -r name; do
    [ ! -f "$1/current/$name" ] || emit file "$name" "$(base64 -w0 <"$1/current/$name")"
done <"$meta/config"
[ -d "$meta/unit-files" ] || exit 0
cd "$meta/unit-files" || exit 1
find . -type f -printf '%P\n' | sort | while IFS= read -r name; do emit unit "$name" "$(base64 -w0 <"$name")"; done
