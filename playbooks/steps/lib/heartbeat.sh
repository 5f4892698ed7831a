# shellcheck shell=sh disable=SC2154
# Hold the lock for as long as somebody is heard on the channel; the words are in playbooks/fleet/lock.py. Needs state, run,
# token, patience and kind.

# hold_lock: return when the controller has been silent for too long; exit with 0 when it releases the lock. 9>&-: timeout and
# head do not inherit the lock, so it ends with this script even if they go on.
hold_lock() {
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
}

# why_stays STATE: print why the guard cannot be removed, or why STATE cannot be written.
why_stays() {
    if lacks_room "$1"; then echo "$said"; else echo 'its guard cannot be removed'; fi
}
