# shellcheck shell=sh disable=SC2034,SC2154
# idle_host HOME STATE RELEASE SECONDS LIMIT SCRIPT-BYTES
#
# The traffic has left this host's group: set a timer that stops all units of RELEASE, the current one. SECONDS "-" removes the
# timer, because the traffic comes back. Standard input: what the timer runs, see idle_end.sh.
home=$1
state=$2
release=$3
seconds=$4
limit=$5
bytes=$6

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
