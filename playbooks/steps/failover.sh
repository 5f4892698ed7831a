# shellcheck shell=sh disable=SC2034,SC2154
# failover: if a dead controller has left this balancer's guard armed, let the guard act now and not after its
# time-out. Returns when no traffic goes to servers that are about to stop; the guard goes on by itself.
# needs: state seconds
ticks=$((seconds * 10))

# include guard.sh

guard_names "$state"
if [ ! -e "$guard/retreat" ] || ! guard_waits; then exit 0; fi
# A task that holds the lock is alive. If the disk is too full for the mark, the guard acts after its own time-out.
flock --nonblock "$state/lock" true || exit 0
[ ! -e "$guard/armed" ] || true 2>/dev/null >"$guard/now" || exit 0
systemctl start --no-block "$guard_unit.service"
while guard_waits && [ ! -e "$guard/retreated" ] && [ "$ticks" -gt 0 ]; do
    sleep 0.1
    ticks=$((ticks - 1))
done
