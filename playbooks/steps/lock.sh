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
# include dead_task.sh
# include heartbeat.sh

# open_lock: open the file of the lock as descriptor 9.
open_lock() {
    { [ -d "$state" ] && [ -d "$run" ]; } || mkdir -p "$state" "$run"
    exec 9<>"$state/lock"
}

# end_own_former: end this task's earlier lock script, which may still wait on a connection that died.
end_own_former() {
    if [ "$token" = - ] || flock --nonblock 9; then return 0; fi
    { read -r _ && read -r _ && read -r theirs process _; } <"$state/lock" || theirs=
    [ "$theirs" != "$token" ] || kill "$process" 2>/dev/null || :
}

# take_lock: wait for the lock, or say who holds it and end.
take_lock() {
    if ! flock --wait "$wait" 9; then
        emit held "$(head -n 1 "$state/lock")"
        exit 1
    fi
}

# require_own_token: nobody has acted since the lock was lost with its connection.
require_own_token() {
    [ "$(cat "$state/token" 2>/dev/null)" = "$token" ] ||
        fail fenced 'another task took the lock meanwhile, or the host went back by itself after a silence'
}

# begin_anew: clear up after a dead task, then make a new token, with which nobody else may act any more.
begin_anew() {
    if ! await_migrations; then
        emit held "$(head -n 1 "$state/lock")"
        exit 1
    fi
    clear_guard
    record_interrupted
    # A full disk keeps nobody from going back.
    [ "$had_format" = "$format" ] || (put_line "$state/format" "$format") 2>/dev/null || :
    raise_token "$state"
    end_orphans
}

# write_owner: write whose lock it is, for others and for the task after this one.
write_owner() {
    { printf '%s\n%s\n%s\n' "$holder" "$epitaph" "$token $$ $kind" >"$state/lock" && sync "$state/lock"; } 2>/dev/null ||
        fail unwritable "$state cannot be written: $(why_stays "$state")"
}

guard_names "$state"
open_lock
end_own_former
take_lock
require_format "$state" "$format"
if [ "$token" = - ]; then begin_anew; else require_own_token; fi
write_owner
beat_now
emit locked "$token"
hold_lock
# The controller is silent. The lock's file keeps the owner, so that status can say which task was interrupted.
exit 1
