# shellcheck shell=sh disable=SC2034,SC2154
# lock STATE WAIT HOLDER EPITAPH HOME PATIENCE TOKEN UNDO KIND FORMAT
#
# Take the application's lock on this host and hold it for as long as somebody is heard on the channel. The kernel drops a
# flock with its last holder, so it cannot go stale: whatever ends this script ends the lock with it.
#
# TOKEN "-" for a new lock; else the number of one that was lost with its connection, taken again. PATIENCE: seconds of
# silence after which the lock is let go. UNDO "undo": take back at once what a dead controller left half-way. KIND
# "changes" for a task that changes what serves.
#
# The lock's file has who holds it; what the ledger is to say should it end without a word; our number, process and kind.
# Who was interrupted while he changed what serves is remembered in STATE/interrupted until such a task has ended well: a
# backup from cron in between must not hide it.
state=$1
wait=$2
holder=$3
epitaph=$4
home=$5
patience=$6
token=$7
undo=$8
kind=$9
shift 9
format=$1

# include format.sh
# include guard.sh
# include append.sh

guard_names "$state"
why_stays() {
    if lacks_room "$1"; then echo "$said"; else echo 'its guard cannot be removed'; fi
}

# Steps of a dead task go on to their end when nobody waits for them. Now somebody does. A folder is UNIT.STEP.NUMBER.
end_orphans() {
    for answer in "$run"/answers/*; do
        if [ ! -d "$answer" ] || [ -f "$answer/status" ]; then continue; fi
        orphan=${answer##*/}
        orphan=${orphan%.*}
        # What it writes down is true, and it is all but done.
        [ "${orphan##*.}" != finish ] || wait_for "$answer/status"
        systemctl stop "${orphan%.*}.service" 2>/dev/null 9>&- || :
    done
    [ ! -d "$run/answers" ] || rm -rf "$run/answers"
}

# guard_takes: seconds within which it is over. A balancer's also waits for the hosts behind it: the ninth of its arguments.
guard_takes() {
    read -r takes <"$guard/seconds"
    settles=0
    [ ! -e "$guard/retreat" ] || settles=$(sed -n 9p "$guard/arguments")
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

# Our own former self may still be waiting on a connection that died.
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
    # Whoever left a guard behind is dead: its undo comes first, whatever we are about to do.
    if guard_waits && is_back; then
        # There is nothing to undo; unless a step is still at work that is about to make it so.
        end_orphans
        ! is_back || remove_guard
    fi
    [ "$undo" != undo ] || [ ! -e "$guard/armed" ] || : >"$guard/now"
    # A balancer's host comes last: those behind it are back.
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

# The reader has no copy of the lock: should only it outlive us, the lock is free all the same.
while word=$(timeout "$patience" head -c 1 9>&-) && [ -n "$word" ]; do
    case $word in
        b)
            beat_now
            emit beat
            # See abort.sh. It is told once: what follows is the way back.
            if [ -s "$run/abort" ] && read -r meant asks <"$run/abort" && rm -f "$run/abort"; then
                [ "$meant" != "$token" ] || emit abort "$asks"
            fi
            ;;
        c) (confirm_guard "$state") 9>&- || emit stays "$(why_stays "$state")" ;;
        d | q)
            if [ "$word" = d ] && [ "$kind" = changes ]; then rm -f "$state/interrupted"; fi
            # Every answer has been heard; what an application wrote into its log may be in one.
            rm -rf "$run/answers"
            true >"$state/lock"
            exit 0
            ;;
    esac
done
# No word any more. Who we were stays in the file, so that status can say what was interrupted.
exit 1
