# shellcheck shell=sh disable=SC2034,SC2154
# idle: stop the units of a release that has left the traffic, at once (seconds 0) or by a timer on this host.
# needs: home state release seconds limit bytes
#
# Never those of the current release. limit: seconds that a unit may take to stop. Standard input: what the timer runs, of so
# many bytes, see idle_end.sh.

# include find_current.sh
# include slots.sh
# include idle_timer.sh

read_timer_script
find_current
[ "$release" != "$current" ] || fail current "release $release is the current one; it is not stopped"
installed=
for file in $(units_in_slots); do
    [ "${file%/*}" != "$release" ] || installed=yes
done
if [ -z "$installed" ]; then
    emit idle gone
    exit 0
fi
find_slot "$release"
if [ "$seconds" = 0 ]; then
    leave_slot "$release"
    emit idle stopped
    exit 0
fi
arm_idle "$slot" "$release is kept in slot $slot"
