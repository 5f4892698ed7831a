# shellcheck shell=sh
# check_release HOME RELEASE: whether a release on this host is still what its manifest says. Changes nothing.
release=$1/releases/$2
meta=$release/.slipway

if [ ! -f "$meta/complete" ]; then
    emit verdict absent 'it is not on this host any more'
    exit 0
fi
cd "$release" || exit 1
if ! said=$(sha256sum --check --quiet --strict .slipway/manifest 2>&1); then
    emit verdict damaged "$(printf '%s\n' "$said" | head -n 3 | tr '\n' ' ')"
    exit 0
fi
# Links are not in a list of checksums; one that was bent leads to other files that may well be right. Those in writable paths
# are the application's own affair.
set -- . -path ./.slipway -prune -o
links() { cat .slipway/links; }
if [ -s .slipway/writable ]; then
    while IFS= read -r writable; do set -- "$@" -path "./$writable" -prune -o; done <.slipway/writable
    links() {
        awk 'FNR == NR { writable["./" $0 "/"]; next }
            { for (w in writable) if (index(substr($0, 1, index($0, " -> ") - 1) "/", w) == 1) next; print }' \
            .slipway/writable .slipway/links
    }
fi
if [ "$(find "$@" -type l -printf '%p -> %l\n' | sort)" != "$(links)" ]; then
    emit verdict damaged 'its symbolic links are not those that were staged'
    exit 0
fi
emit verdict intact ''
while IFS= read -r unit; do emit unit "$unit"; done <.slipway/units
if [ -f .slipway/slot ]; then
    read -r slot _ <.slipway/slot
    emit slot "$slot"
fi
