# shellcheck shell=sh disable=SC2154
# ledger_copy: put records, count bytes from standard input, at the end of the ledger, all or none.
# They continue the chain at the expected tip; if somebody else has written since, nothing is done.
# needs: state expected count

# include append.sh

# First beside the ledger: a slow line must not hold up another writer.
copies=$state/.copies.$$
trap 'rm -f "$copies"' EXIT
head -c "$count" >"$copies" || fail unwritable "cannot write $copies; is its disk full?"
[ "$(stat -c %s "$copies")" = "$count" ] || fail cut 'the copies did not arrive whole; nothing was changed'

put_copies() (
    open_ledger "$state"
    read_tip
    if [ "$tip" != "$expected" ] || [ "$healed" = yes ]; then
        fail moved 'somebody else has written the ledger since; nothing was changed'
    fi
    cat "$copies" 2>/dev/null >>"$ledger" || take_back
    settle
)
put_copies
emit copied
