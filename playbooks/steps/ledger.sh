# shellcheck shell=sh
# ledger STATE LINES: the last records of a host's ledger, each after the hash that the one before really has.
state=$1
lines=$2
[ -s "$state/ledger" ] || exit 0
tail -n "$lines" "$state/ledger" | while IFS= read -r line; do emit record "$line"; done
