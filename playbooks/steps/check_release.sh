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
if ! said=$(sha256sum --check --quiet --strict .slipway/manifest 2>&1); then
    emit verdict damaged "$(printf '%s\n' "$said" | head -n 3 | tr '\n' ' ')"
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
