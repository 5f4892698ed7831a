# shellcheck shell=sh disable=SC2154
# abort STATE WHO: ask whoever holds the lock here to end his task. He hears it with the answer to his next heartbeat (lock.sh).
state=$1
run=/run/slipway/${1#/var/lib/slipway/}

if [ ! -s "$state/lock" ] || flock --shared --nonblock "$state/lock" true; then
    emit free
    exit 0
fi
holder=
token=
{ IFS= read -r holder && read -r _ && read -r token _; } <"$state/lock" || :
# By its number: whoever has the lock by then is not meant.
printf '%s %s\n' "$token" "$2" >"$run/abort.new"
mv -f "$run/abort.new" "$run/abort"
emit asked "$holder"
