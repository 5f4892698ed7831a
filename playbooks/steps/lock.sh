# shellcheck shell=sh disable=SC2034,SC2154
# lock: take the application's lock on this host and hold it for as long as somebody is heard on the channel.
# needs: state home wait patience holder epitaph token undo kind format
#
# The kernel drops a flock with its last holder, so it cannot go stale: whatever ends this script ends the lock with it.
#
# token: "-" for a new lock, or the number of a lock that was lost with its connection and is taken again. wait: seconds to
# wait for another task. patience: seconds of silence after which the lock is released. undo "undo": take back at once what
# a dead controller left half-changed. kind "changes": a task that changes what serves. holder: the lock's owner. epitaph:
# the record to write if the task ends without releasing the lock.
#
# STATE/lock has three lines: the owner; the record to write if the task ends without releasing the lock; token, process
# and kind. STATE/interrupted has the owner of an interrupted task of kind "changes" until such a task succeeds, so a
# backup from cron in between does not hide it.

# include format.sh
# include guard.sh
# include append.sh

guard_names "$state"
why_stays() {
    if lacks_room "$1"; then echo "$said"; else echo 'its guard cannot be removed'; fi
}

# Steps of a dead task may still run. End them before this task begins. A folder is UNIT.STEP.NUMBER.
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

wait_for() {
    tries=100
    while [ "$tries" -gt 0 ] && [ ! -f "$1" ]; do
        sleep 0.1 9>&-
        tries=$((tries - 1))
    done
}

{ [ -d "$state" ] && [ -d "$run" ]; } || mkdir -p "$state" "$run"
exec 9<>"$state/lock"

# This task's earlier lock script may still wait on a connection that died.
if [ "$token" != - ] && ! flock --nonblock 9; then
    { read -r _ && read -r _ && read -r theirs process _; } <"$state/lock" || theirs=
    [ "$theirs" != "$token" ] || kill "$process" 2>/dev/null || :
fi
if ! flock --wait "$wait" 9; then
    emit held "$(head -n 1 "$state/lock")"
    exit 1
fi

require_format "$state" "$format"
if [ "$token" != - ]; then
    [ "$(cat "$state/token" 2>/dev/null)" = "$token" ] ||
        fail fenced 'another task took the lock meanwhile, or the host went back by itself after a silence'
else
    # The task that left a guard is dead. Its undo comes before anything that this task does.
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
            systemctl start "$guard_unit.service" 9>&- || {
                why=
                [ ! -s "$guard/why" ] || IFS= read -r why <"$guard/why" || :
                fail guard "the undo of $guard_id failed${why:+: $why}; see: journalctl -u $guard_unit"
            }
        elif [ "$left" -gt 0 ]; then
            sleep 1 9>&-
            left=$((left - 1))
        else
            emit guarded "$(head -n 1 "$state/lock")" "$(guard_takes)" "$guard_id"
            exit 1
        fi
    done
    [ ! -d "$guard" ] || remove_guard
    if [ -s "$state/lock" ]; then
        { IFS= read -r was && IFS= read -r record && read -r _ _ its_kind; } <"$state/lock" || its_kind=
        (append_record "$state" "$record") >/dev/null || note 'the interrupted task could not be written into the ledger'
        [ "$its_kind" != changes ] || printf '%s\n' "$was" | replace_file "$state/interrupted"
    fi
    [ "$had_format" = "$format" ] || (put_line "$state/format" "$format") 2>/dev/null || : # a full disk keeps nobody from going back
    raise_token "$state"
    end_orphans
fi
{ printf '%s\n%s\n%s\n' "$holder" "$epitaph" "$token $$ $kind" >"$state/lock" && sync "$state/lock"; } 2>/dev/null ||
    fail unwritable "$state cannot be written: $(why_stays "$state")"
beat_now
emit locked "$token"

# 9>&-: timeout and head do not inherit the lock, so it ends with this script even if they go on.
while word=$(timeout "$patience" head -c 1 9>&-) && [ -n "$word" ]; do
    case $word in
        b)
            beat_now
            emit beat
            # See abort.sh. The request is reported once: the task then goes back.
            if [ -s "$run/abort" ] && read -r meant asks <"$run/abort" && rm -f "$run/abort"; then
                [ "$meant" != "$token" ] || emit abort "$asks"
            fi
            ;;
        c) (confirm_guard "$state") 9>&- || emit stays "$(why_stays "$state")" ;;
        d | q)
            if [ "$word" = d ] && [ "$kind" = changes ]; then rm -f "$state/interrupted"; fi
            # The controller has every answer. One may contain lines of an application's log, so none is kept.
            rm -rf "$run/answers"
            true >"$state/lock"
            exit 0
            ;;
    esac
done
# The controller is silent. The lock's file keeps the owner, so that status can say which task was interrupted.
exit 1
