# shellcheck shell=sh
# drop_timer UNIT STOP-WORD...: take a timer of ours away for good; STOP-WORDs are systemctl's besides its name. Stopped before
# its files go: somebody's daemon-reload in between would find a timer that runs nothing, and that is a failed unit for ever.
drop_timer() {
    dropped=$1
    shift
    systemctl stop "$@" "$dropped.timer" 2>/dev/null || :
    units=/etc/systemd/system
    rm -f "$units/timers.target.wants/$dropped.timer" "$units/$dropped.timer" "$units/$dropped.service"
}
