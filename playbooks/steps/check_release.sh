# shellcheck shell=sh
# check_release HOME RELEASE: whether a release on this host is still what its manifest says. Changes nothing.
release=$1/releases/$2
meta=$release/.slipway

# include attributes.sh
# include release_links.sh

if [ ! -f "$meta/complete" ]; then
    emit verdict absent 'it is not on this host any more'
    exit 0
fi
cd "$release" || exit 1
if ! said=$(sha256sum --check --quiet --strict .slipway/manifest 2>/dev/null); then
    said=$(printf '%s\n' "${said:-its manifest cannot be read}" | sed 's|^\./||; s|: FAILED open or read$| is missing|; s|: FAILED$| is not as it was staged|')
    count=$(printf '%s\n' "$said" | wc -l)
    [ "$count" -le 3 ] || said="$(printf '%s\n' "$said" | head -n 2)$newline$((count - 2)) more files likewise"
    emit verdict damaged "$(printf '%s\n' "$said" | awk '{ printf "%s%s", (NR == 1 ? "" : ", "), $0 }')"
    exit 0
fi
if [ ! -f .slipway/links ] || [ -n "$(compare_links .)" ]; then
    emit verdict damaged 'its symbolic links are not those that were staged'
    exit 0
fi
attributes=$(compare_attributes .)
if [ -n "$attributes" ]; then
    emit verdict damaged "its files have other capabilities, access lists or attributes than were staged: $(printf '%s\n' "$attributes" | head -n 3 | tr '\n' ' ' | cut -c1-200)"
    exit 0
fi
emit verdict intact ''
while IFS= read -r unit; do emit unit "$unit"; done <.slipway/units
if [ -f .slipway/slot ]; then
    read -r slot _ <.slipway/slot
    emit slot "$slot"
fi
