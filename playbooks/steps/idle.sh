# shellcheck shell=sh disable=SC2034,SC2154
# idle HOME STATE RELEASE SECONDS LIMIT SCRIPT-BYTES
#
# Stop the units of a release that has left the traffic, at once (SECONDS 0) or by a timer on this host. Never those of the
# current release. Standard input: what the timer runs, see idle_end.sh.
home=$1
state=$2
release=$3
seconds=$4
limit=$5
bytes=$6

# include find_current.sh
# include slots.sh

script=$(head -c "$bytes")
case $script in
    *'# whole') ;;
    *) fail cut 'what the timer runs did not arrive whole' ;;
esac
find_current
[ "$release" != "$current" ] || fail current "release $release is the current one; it is not stopped"
linked=
for link in $(slot_links); do
    [ "${link%/*}" != "$release" ] || linked=yes
done
if [ -z "$linked" ]; then
    emit idle gone
    exit 0
fi
read_slot "$home/releases/$release"
if [ "$seconds" = 0 ]; then
    leave_slot "$release"
    emit idle stopped
    exit 0
fi
cancel_idle "$slot"
until=$(($(date +%s) + seconds))
folder=$state/idle/$slot
rm -rf "$folder.new"
mkdir -p "$folder.new" "$slot_units_folder/timers.target.wants"
printf '%s\n' "$script" >"$folder.new/run"
printf '%s\n' "$home" "$release" "$until" "$limit" >"$folder.new/arguments"
mv -T "$folder.new" "$folder"
unit=slipway-idle-${state##*/}-$slot
place=$slot_units_folder/$unit
printf '%s\n' '[Unit]' "Description=Slipway: stop $release, which is kept in slot $slot" \
    '[Service]' Type=oneshot "ExecStart=/bin/sh $folder/run" >"$place.service"
# A reboot begins a new count, and a task may be at work just then: so it looks again and again whether it is time.
printf '%s\n' '[Unit]' "Description=Slipway: $release is kept in slot $slot" '[Timer]' "OnActiveSec=$seconds" OnBootSec=600 \
    OnUnitInactiveSec=600 AccuracySec=1s >"$place.timer"
ln -sfn "$place.timer" "$slot_units_folder/timers.target.wants/$unit.timer"
sync "$folder"/* "$folder" "$place.service" "$place.timer" "$slot_units_folder/timers.target.wants" "$slot_units_folder"
systemctl daemon-reload
systemctl restart "$unit.timer" || fail idle "systemd does not start $unit.timer"
emit idle "$until"
