# shellcheck shell=sh disable=SC2034,SC2154
# What every undo of a guard does before and after its own work; see undo.sh and traffic_undo.sh. Needs guard.sh and
# append.sh, and state. Sets target and seconds.

# begin_look: whose guard this is. It may be taken away while we look, and the next task's put in its place: what cannot be
# read then is no failure. A unit that failed after its file was gone would stay failed until somebody resets it.
begin_look() {
    guard_names "$state"
    [ -n "$guard_id" ] || exit 0
    ended=0
    trap 'ended=$?; [ "$ended" = 0 ] || is_ours || ended=0; exit "$ended"' EXIT
}

is_ours() { [ "$(cat "$guard/id" 2>/dev/null)" = "$guard_id" ]; }

# begin_undo: comes back only when it is to be done. From then on a controller that wakes up can do nothing.
begin_undo() {
    if [ -e "$guard/confirmed" ]; then
        # Whoever confirmed it takes it away, and holds the lock for it. Had he died of it, the lock would be free.
        exec 8<"$state/lock"
        flock --nonblock 8 || exit 0
        ! is_ours || remove_guard
        exit 0
    fi
    read -r target <"$guard/target"
    read -r seconds <"$guard/seconds"
    if [ -e "$guard/armed" ]; then
        read -r up _ </proc/uptime
        heard=0
        [ ! -s "$beat" ] || read -r heard <"$beat" || :
        silent=$((${up%.*} - heard))
        if [ ! -e "$guard/now" ] && [ "$heard" -gt 0 ] && [ "$silent" -lt "$seconds" ]; then exit 0; fi
        if mv "$guard/armed" "$guard/firing" 2>/dev/null; then
            sync "$guard"
        else
            # Confirmed in this very moment; or its disk is read-only by now, and nobody could confirm it either.
            [ -e "$guard/armed" ] || exit 0
            ! is_back || exit 0
        fi
    fi
    [ -e "$guard/armed" ] || [ -e "$guard/firing" ] || exit 0
    # A full disk must not keep the host from going back: what is only written down may fail.
    (raise_token "$state") || note 'slipway: the token could not be raised'
    # What the controller left at work is ended first. Only these tasks have guards; of an application called APP-more
    # none is meant.
    for task in deploy rollback; do systemctl stop "slipway-${state##*/}-$task-$guard_step-*" 2>/dev/null || :; done
}

# stuck WHY: it cannot be done, and never will by itself.
stuck() {
    status=stuck
    note "slipway: $1"
    printf '%s\n' "$1" 2>/dev/null >"$guard/why" || :
}

# end_undo RECORD: say in the ledger what became of it ($status), and take the guard away.
end_undo() {
    (append_record "$state" "{\"status\":\"$status\",\"at\":\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\",${1#\{}") >/dev/null ||
        note 'slipway: the ledger could not be written'
    if [ "$status" = stuck ]; then
        mv "$guard/firing" "$guard/stuck" || :
        systemctl stop --no-block "$guard_unit.timer"
        exit 1
    fi
    remove_guard
}
