# shellcheck shell=sh disable=SC2154
# What a task leaves on a host whose controller died: a guard, steps that still run, its record. lock.sh clears it up before the
# next task begins. Needs state, run, wait and undo. Descriptor 9 is the lock; 9>&-: a program that is started does not get it.
# include append.sh

# clear_guard: wait until the guard of a dead task has acted, or make it act, and remove it. Its undo comes before anything that
# this task does.
clear_guard() {
    if guard_waits && is_back; then
        # The host already runs the guard's target. End steps first: one of them may be about to switch it.
        end_orphans
        ! is_back || remove_guard
    fi
    [ "$undo" != undo ] || [ ! -e "$guard/armed" ] || : >"$guard/now"
    # A balancer's host is locked last: the hosts behind it are back by now.
    [ "$undo" != undo ] || [ ! -e "$guard/retreat" ] || true 2>/dev/null >"$guard/settled" || :
    left=${wait%.*}
    while guard_waits; do
        if [ "$undo" = undo ]; then
            run_undo
        elif [ "$left" -gt 0 ]; then
            sleep 1 9>&-
            left=$((left - 1))
        else
            emit guarded "$(head -n 1 "$state/lock")" "$(guard_takes)" "$guard_id"
            exit 1
        fi
    done
    [ ! -d "$guard" ] || remove_guard
}

# run_undo: let the guard act now.
run_undo() {
    systemctl start "$guard_unit.service" 9>&- || {
        why=
        [ ! -s "$guard/why" ] || IFS= read -r why <"$guard/why" || :
        fail guard "the undo of $guard_id failed${why:+: $why}; see: journalctl -u $guard_unit"
    }
}

# record_interrupted: write the record of a task that ended without releasing the lock.
record_interrupted() {
    [ -s "$state/lock" ] || return 0
    { IFS= read -r was && IFS= read -r record && read -r _ _ its_kind; } <"$state/lock" || its_kind=
    (append_record "$state" "$record") >/dev/null || note 'the interrupted task could not be written into the ledger'
    [ "$its_kind" != changes ] || printf '%s\n' "$was" | replace_file "$state/interrupted"
}

# guard_takes: print the seconds within which the guard has acted. A balancer's guard also waits for the hosts behind it.
guard_takes() {
    read -r takes <"$guard/seconds"
    settles=0
    if [ -f "$guard/settle" ]; then
        read -r settles <"$guard/settle"
    elif [ -e "$guard/retreat" ]; then
        # A guard from before December 2026.
        settles=$(sed -n 9p "$guard/arguments")
    fi
    echo $((takes + settles))
}

# await_migrations: wait for a migration that a dead task has begun, for as long as a lock is waited for: a tool that is cut off
# leaves a database of which nobody knows what it has. Fails if it still runs then.
await_migrations() {
    left=${wait%.*}
    for answer in "$run"/answers/*.migration_tool.* "$run"/answers/*.migrate.*; do
        orphan=${answer##*/}
        orphan=${orphan%.*}
        while [ -d "$answer" ] && [ ! -f "$answer/status" ] && systemctl --quiet is-active "${orphan%.*}.service" 9>&-; do
            [ "$left" -gt 0 ] || return 1
            sleep 1 9>&-
            left=$((left - 1))
        done
    done
}

# end_orphans: end the steps of a dead task, which may still run, before this task begins. A folder is UNIT.STEP.NUMBER.
end_orphans() {
    for answer in "$run"/answers/*; do
        if [ ! -d "$answer" ] || [ -f "$answer/status" ]; then continue; fi
        orphan=${answer##*/}
        orphan=${orphan%.*}
        # "finish" records what was done, and takes a moment: let it end.
        [ "${orphan##*.}" != finish ] || wait_for "$answer/status"
        systemctl stop "${orphan%.*}.service" 2>/dev/null 9>&- || :
    done
    [ ! -d "$run/answers" ] || rm -rf "$run/answers"
}

# wait_for FILE: wait until it is there, for ten seconds at most.
wait_for() {
    tries=100
    while [ "$tries" -gt 0 ] && [ ! -f "$1" ]; do
        sleep 0.1 9>&-
        tries=$((tries - 1))
    done
}
