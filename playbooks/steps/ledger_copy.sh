# shellcheck shell=sh disable=SC2154
# ledger_copy STATE TIP COUNT: put COUNT bytes of records, from standard input, at the end of the ledger, all or none.
# They continue the chain at TIP; if somebody else has written since, nothing is done.
state=$1
expected=$2
count=$3

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
