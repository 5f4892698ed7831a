# shellcheck shell=sh disable=SC2034,SC2154
# abort STATE WHO: ask whoever holds the lock here to end his task. He hears it with the answer to his next heartbeat (lock.sh).
state=$1
run=/run/slipway/${1#/var/lib/slipway/}

# include read_lock_owner.sh

read_holder
# By its number: whoever has the lock by then is not meant.
put_line "$run/abort" "$token $2"
emit asked "$holder"
