# shellcheck shell=sh
# drop_timer UNIT STOP-WORD...: remove a timer of Slipway's; STOP-WORDs are further arguments of systemctl stop. The timer is
# stopped before its files are removed: a daemon-reload in between would else find a timer without a service, and that stays
# a failed unit.
drop_timer() {
    dropped=$1
    shift
    systemctl stop "$@" "$dropped.timer" 2>/dev/null || :
    units=/etc/systemd/system
    rm -f "$units/timers.target.wants/$dropped.timer" "$units/$dropped.timer" "$units/$dropped.service"
}
