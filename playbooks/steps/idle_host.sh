# shellcheck shell=sh disable=SC2034,SC2154
# idle_host: set a timer that stops all units of release, the current one: the traffic has left this host's group.
# needs: home state release seconds limit bytes
#
# seconds "-" removes the timer, because the traffic comes back. limit: seconds that a unit may take to stop. Standard input:
# what the timer runs, of so many bytes, see idle_end.sh.

# include find_current.sh
# include slots.sh
# include idle_timer.sh

read_timer_script
if [ "$seconds" = - ]; then
    cancel_idle all-units
    emit idle gone
    exit 0
fi
find_current
[ "$release" = "$current" ] || fail moved "expected current to be $release, found $current (\"-\" means no release)"
arm_idle all-units "$release is kept for the way back"
