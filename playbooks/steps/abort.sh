# shellcheck shell=sh disable=SC2034,SC2154
# abort: ask the task that holds the lock here to end. It gets the request with the answer to its next heartbeat
# (lock.sh).
# needs: state who
run=/run/slipway/${state#/var/lib/slipway/}

# include read_lock_owner.sh

read_holder
# The token is written with it, so that a task which takes the lock later does not take the request for its own.
put_line "$run/abort" "$token $who"
emit asked "$holder"
