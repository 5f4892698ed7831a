# shellcheck shell=sh disable=SC2034,SC2154
# What every undo of a guard does before and after its own work; see undo.sh and traffic_undo.sh. Needs guard.sh and
# append.sh, and state. Sets target and seconds.

# begin_look: find out which guard this is. A task may remove it meanwhile and set the next one. Then a failure does not count:
# a unit that fails after its file is gone would stay failed until somebody resets it.
begin_look() {
    guard_names "$state"
    [ -n "$guard_id" ] || exit 0
    ended=0
    trap 'ended=$?; [ "$ended" = 0 ] || is_ours || ended=0; exit "$ended"' EXIT
}

is_ours() { [ "$(cat "$guard/id" 2>/dev/null)" = "$guard_id" ]; }

# begin_undo: return only if the undo is to run. From then on a controller that wakes up can change nothing.
begin_undo() {
    if [ -e "$guard/confirmed" ]; then
        # The task that confirmed the guard removes it and holds the lock meanwhile. If the lock is free, that task is dead.
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
            # Either it was confirmed in this moment, or the disk is read-only by now; then nobody could confirm it either.
            [ -e "$guard/armed" ] || exit 0
            ! is_back || exit 0
        fi
    fi
    [ -e "$guard/armed" ] || [ -e "$guard/firing" ] || exit 0
    # The host goes back even if its disk is full, so writing may fail here.
    (raise_token "$state") || note 'slipway: the token could not be raised'
    # End the steps that the controller left running. The pattern names the two tasks that have guards, so that it does not
    # match steps of an application called APP-more.
    for task in deploy rollback; do systemctl stop "slipway-${state##*/}-$task-$guard_step-*" 2>/dev/null || :; done
}

# stuck WHY: the undo failed, and will not succeed without a person.
stuck() {
    status=stuck
    note "slipway: $1"
    printf '%s\n' "$1" 2>/dev/null >"$guard/why" || :
}

# end_undo RECORD: write the result ($status) into the ledger, and remove the guard.
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
