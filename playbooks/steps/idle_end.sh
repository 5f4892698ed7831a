# shellcheck shell=sh disable=SC2034,SC2154
# idle_end: what the timer of a slot, or of a host that has left the traffic, does when its time is over. Runs from
# STATE/idle/SLOT/run or STATE/idle/all-units/run, without a controller.
folder=${0%/run}
state=${folder%/idle/*}

# include find_current.sh
# include slots.sh

{
    IFS= read -r home
    read -r release
    read -r until
    read -r limit
} <"$folder/arguments"
# The timer and the clock may differ by some seconds.
[ $(($(date +%s) + 5)) -ge "$until" ] || exit 0
# A running task or a guard may be about to go back to this release. The timer comes again later.
if [ -e "$state/guard/armed" ] || [ -e "$state/guard/firing" ]; then exit 0; fi
if [ -e "$state/lock" ] && ! flock --shared --nonblock "$state/lock" true; then exit 0; fi
idle_ends=yes
find_current
if [ "${folder##*/}" = all-units ]; then
    if [ "$current" = "$release" ]; then
        # A later switch to this release starts and enables them again.
        put_line "$state/idle/stopped" "$release"
        while IFS= read -r unit; do
            timeout "$limit" systemctl stop "$unit" || note "$unit did not stop"
            disable_unit "$unit"
        done <"$home/releases/$release/.slipway/units"
        note "slipway: $release was kept long enough without traffic; its units are stopped"
    fi
elif [ "$current" != "$release" ]; then
    leave_slot "$release"
    note "slipway: $release was kept long enough beside $current; its slot is stopped"
fi
cancel_idle "${folder##*/}"
