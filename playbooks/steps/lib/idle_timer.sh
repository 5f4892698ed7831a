# shellcheck shell=sh disable=SC2034,SC2154
# A timer on this host that stops units that have no traffic any more, without a controller. It runs idle_end.sh. Needs home,
# state, release, seconds, limit, bytes, slots.sh.

# include mounts.sh
# include while_exists.sh

# read_timer_script: set script to what the timer runs.
read_timer_script() {
    script=$(head -c "$bytes")
    case $script in
        *'# whole') ;;
        *) fail cut 'what the timer runs did not arrive whole' ;;
    esac
}

# arm_idle NAME SENTENCE: start the time from the beginning. NAME: a slot, or all-units for all units of the current release.
arm_idle() {
    cancel_idle "$1"
    until=$(($(date +%s) + seconds))
    folder=$state/idle/$1
    rm -rf "$folder.new"
    mkdir -p "$folder.new" "$units_folder/timers.target.wants"
    printf '%s\n' "$script" >"$folder.new/run"
    printf '%s\n' "$home" "$release" "$until" "$limit" >"$folder.new/arguments"
    mv -T "$folder.new" "$folder"
    unit=slipway-idle-${state##*/}-$1
    place=$units_folder/$unit
    find_mounts "$state" "$home" "$home/releases"
    printf '%s\n' '[Unit]' "Description=Slipway: stop it: $2" "RequiresMountsFor=$state $home" ${mounts:+"${mounts%"$newline"}"} \
        '[Service]' Type=oneshot "ExecStart=$(while_exists "$folder/run")" >"$place.service"
    # A reboot starts the timer anew, and a task may be running when it fires. So it fires repeatedly and looks at the clock.
    printf '%s\n' '[Unit]' "Description=Slipway: $2" StartLimitIntervalSec=0 CollectMode=inactive-or-failed \
        '[Timer]' "OnActiveSec=$seconds" OnBootSec=600 OnUnitInactiveSec=600 AccuracySec=1s >"$place.timer"
    ln -sfn "$place.timer" "$units_folder/timers.target.wants/$unit.timer"
    sync "$folder"/* "$folder" "$place.service" "$place.timer" "$units_folder/timers.target.wants" "$units_folder"
    systemctl daemon-reload
    systemctl restart "$unit.timer" || fail idle "systemd does not start $unit.timer"
    emit idle "$until"
}
