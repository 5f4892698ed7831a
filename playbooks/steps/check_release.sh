# shellcheck shell=sh disable=SC2154
# check_release: whether a release on this host is still what its manifest says. Changes nothing.
# needs: home id
release=$home/releases/$id
meta=$release/.slipway

# include compare_release.sh

if [ ! -f "$meta/complete" ]; then
    emit verdict absent
    exit 0
fi
found=no
while IFS= read -r line; do
    [ -n "$line" ] || continue
    [ "$found" = yes ] || emit verdict damaged
    found=yes
    emit drift "${line%%"$tab"*}" "${line#*"$tab"}"
done <<END
$(compare_release "$release" sums | head -n 200)
END
[ "$found" = no ] || exit 0
emit verdict intact
while IFS= read -r unit; do emit unit "$unit"; done <"$meta/units"
if [ -f "$meta/slot" ]; then
    read -r slot _ <"$meta/slot"
    emit slot "$slot"
fi
