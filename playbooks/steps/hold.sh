# shellcheck shell=sh disable=SC2154
# hold STATE ID [STAGE]: write down that a deploy's stage is held, for promote.sh; without STAGE, that none is any more.
run=/run/slipway/${1#/var/lib/slipway/}
if [ $# -gt 2 ]; then
    put_line "$run/held" "$2$tab$3"
else
    rm -f "$run/held"
fi
rm -f "$run/promoted"
emit held
