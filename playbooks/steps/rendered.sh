# shellcheck shell=sh disable=SC2154
# rendered: the current release's rendered files and units, for a diff, with the sums that they were deployed with; and
# the units that systemd reads where they are others. Changes nothing.
# needs: home

# include find_current.sh
# include own_release.sh
# include unit_files.sh

find_current
meta=$home/releases/$current/.slipway
[ "$current" != - ] && is_own_release "$home/releases/$current" && [ -f "$meta/config" ] || exit 0
while IFS= read -r name; do
    [ ! -f "$home/current/$name" ] || emit file "$name" "$(base64 -w0 <"$home/current/$name")"
done <"$meta/config"
[ -d "$meta/unit-files" ] || exit 0
cd "$meta/unit-files" || exit 1
find . -type f -printf '%P\n' | sort | while IFS= read -r name; do
    emit unit "$name" "$(base64 -w0 <"$name")"
    installed=/etc/systemd/system/$name
    [ ! -f "$installed" ] || print_deployed "$installed" | cmp -s "$name" - || emit installed "$name" "$(head -c 65536 "$installed" | base64 -w0)"
done
awk -v list=../config '
    BEGIN { while ((getline name <list) > 0) wanted["./" name] }
    { sum = substr($0, 1, 64); name = substr($0, 67) }
    name in wanted || index(name, "./.slipway/unit-files/") == 1 { print "sum\t" name "\t" sum }' ../manifest
