# shellcheck shell=sh disable=SC2154
# hold: write down that a deploy's stage is held, for promote.sh; if stage is empty, that none is any more.
# needs: state id stage
run=/run/slipway/${state#/var/lib/slipway/}
if [ -n "$stage" ]; then
    put_line "$run/held" "$id$tab$stage"
else
    rm -f "$run/held"
fi
rm -f "$run/promoted"
emit held
