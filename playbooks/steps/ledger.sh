# shellcheck shell=sh disable=SC2154
# ledger: bytes of a host's ledger. offset "end": its last bytes, so many as count says, or only its last lines of them. Else
# at most so many from offset on. They are compressed, and no byte of them is lost on the way.
# needs: state offset count lines
ledger=$state/ledger

[ -d "$state" ] || exit 0
# Only for the size: what was written up to there stays as it is, and a slow reader holds up nobody.
exec 7<"$state"
flock -s -w 60 7 || fail busy "somebody else has been writing $ledger for a minute"
[ -f "$ledger" ] || exit 0
size=$(stat -c %s "$ledger")
exec 7<&-

last='cat'
if [ "$offset" = end ]; then
    offset=$((size > count ? size - count : 0))
    last="tail -n $lines"
fi
left=$((size - offset))
[ "$left" -lt "$count" ] || left=$count
emit size "$size"
printf 'bytes\t'
if [ "$left" -gt 0 ]; then
    tail -c "+$((offset + 1))" "$ledger" | head -c "$left" | $last | gzip -1 | base64 -w 0
fi
printf '\n'
