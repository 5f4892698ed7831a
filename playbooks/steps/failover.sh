# shellcheck shell=sh disable=SC2034,SC2154
# failover STATE SECONDS: where a dead controller has left this balancer's guard armed, traffic goes back now, and not when its
# time is over. Comes back when nothing is sent any more to what is about to stop; the guard goes on by itself.
state=$1
ticks=$(($2 * 10))

# include guard.sh

guard_names "$state"
if [ ! -e "$guard/retreat" ] || ! guard_waits; then exit 0; fi
# Who holds the lock lives. Whoever cannot leave a word there for want of room waits for the guard's own time.
flock --nonblock "$state/lock" true || exit 0
[ ! -e "$guard/armed" ] || true 2>/dev/null >"$guard/now" || exit 0
systemctl start --no-block "$guard_unit.service"
while guard_waits && [ ! -e "$guard/retreated" ] && [ "$ticks" -gt 0 ]; do
    sleep 0.1
    ticks=$((ticks - 1))
done
