# shellcheck shell=sh disable=SC2034,SC2154
# traffic_undo: what a balancer's guard does when its controller is silent. Runs from STATE/guard/undo.
# needs: kind backend socket path health_host drain up_seconds settle record
#
# It sets the failover weights (the file retreat) at once, and after settle seconds the final weights (the file rest). If the
# balancer does not answer, the timer starts this again until it does.
state=${0%/guard/undo}

# include guard.sh
# include append.sh
# include undoing.sh
# include balancer.sh
# include set_traffic.sh

begin_look
begin_undo
balancer

# try MAP: set these weights in a subshell, so that a failure does not end this script. The reason is kept for status.
try() {
    if said=$( (set_traffic "$guard/$1" "$drain" "$up_seconds" 0) 2>&1); then return 0; fi
    said=$(printf '%s\n' "$said" | sed -n "s/^error${tab}[^$tab]*$tab//p" | head -n 1)
    # The traffic has moved by then. The file that keeps the change after a restart could not be written.
    [ -n "$said" ] || ! lacks_room "$state" /var/lib/haproxy /etc/nginx || said="$said: make room there (df -h), and it ends by itself"
    said=${said:-the balancer refuses}
    note "slipway: $1: $said"
    printf '%s\n' "$said" 2>/dev/null >"$guard/why" || :
    return 1
}

if [ ! -e "$guard/retreated" ]; then
    note "slipway: the controller of $guard_id was silent for $seconds s; traffic goes back"
    # If the failover weights cannot be set, the final ones may still be.
    try retreat || :
    true 2>/dev/null >"$guard/retreated" || :
    # If a person takes the hosts back, lock.sh makes the file "settled" as soon as they are back.
    ! cmp -s "$guard/retreat" "$guard/rest" || settle=0
    while [ "$settle" -gt 0 ] && [ ! -e "$guard/settled" ]; do
        sleep 1
        settle=$((settle - 1))
    done
fi
try rest || exit 1
rm -f "$guard/why"
status="done"
end_undo "$record"
