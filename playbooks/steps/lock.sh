# shellcheck shell=sh
# lock STATE WAIT HOLDER HOME: take the application's lock on this host and hold it for as long as the channel lives.
#
# The kernel drops a flock with its last holder, so it cannot go stale: whatever ends this channel (the deploy's end,
# the controller's death, the network's) ends the lock with it.
state=$1
wait=$2
holder=$3
home=$4

mkdir -p "$state"
exec 9>>"$state/lock"
if ! flock -w "$wait" 9; then
    emit held "$(cat "$state/lock")"
    exit 1
fi
printf '%s\n' "$holder" >"$state/lock"
current=-
[ ! -L "$home/current" ] || current=$(readlink "$home/current")
emit locked "${current##*/}"
cat >/dev/null
: >"$state/lock"
