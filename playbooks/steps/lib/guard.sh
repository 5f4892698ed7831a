# shellcheck shell=sh disable=SC2034,SC2154
# A host's guard: a systemd timer whose undo takes the host back unless the host hears from the controller.
#
# It is a folder, STATE/guard, and two units whose names carry the deploy's id. The folder's one marker says where it is:
#   armed      the undo runs when the heartbeat stops
#   firing     it runs, or was cut short and runs on after the reboot
#   confirmed  it will never run; what is left is being removed
#   stuck      it ran and could not take the host back; a person is needed
# Markers change by rename, so that of a confirmation and an undo at the same moment exactly one wins.

# guard_names STATE: set guard, beat and, if there is a guard, guard_id and guard_unit.
guard_names() {
    guard=$1/guard
    run=/run/slipway/${1#/var/lib/slipway/}
    beat=$run/beat
    guard_id=
    [ ! -f "$guard/id" ] || read -r guard_id <"$guard/id" || :
    guard_step=$guard_id
    case $guard_id in
        *[!A-Za-z0-9:_.-]*) guard_step=$(printf '%s' "$guard_id" | tr -c 'A-Za-z0-9:_.-' _) ;;
    esac
    guard_unit=slipway-guard-${1##*/}-$guard_step
}

# include find_current.sh
# include drop_timer.sh

# guard_waits: whether a guard is on this host whose deploy is neither confirmed nor taken back.
guard_waits() { [ -e "$guard/armed" ] || [ -e "$guard/firing" ]; }

# beat_now: note that the controller is alive, in seconds of uptime, because clocks are set and differ.
beat_now() {
    read -r up _ </proc/uptime
    printf '%s\n' "${up%.*}" 2>/dev/null >"$beat" || :
}

# is_back: whether the host already runs the guard's target. Always false for a balancer's guard (target "traffic"): the
# weights are not compared.
is_back() {
    read -r way_back <"$guard/target" || return 1
    [ "$way_back" != traffic ] || return 1
    find_current
    [ "$current" = "$way_back" ]
}

# confirm_guard STATE: what was done is to stay.
confirm_guard() {
    guard_names "$1"
    if mv "$guard/armed" "$guard/confirmed" 2>/dev/null; then
        sync "$guard"
        remove_guard
        emit confirmed
    elif [ -e "$guard/armed" ]; then
        return 1
    elif [ -e "$guard/firing" ]; then
        emit fired
    else
        [ ! -d "$guard" ] || remove_guard
        emit confirmed
    fi
}

# remove_guard: its timer may be what runs us, so it is stopped without waiting.
remove_guard() {
    drop_timer "$guard_unit" --no-block
    if [ -f "$guard/arguments" ] && IFS= read -r guarded <"$guard/arguments"; then rm -f "$guarded/.way-back"; fi
    # All of it at once: its timer may be looking, and to find half of it gone would be a failed unit.
    [ ! -e "$guard.gone" ] || rm -rf "$guard.gone"
    [ ! -e "$guard" ] || mv -T "$guard" "$guard.gone"
    rm -rf "$guard.gone"
    sync "${guard%/*}"
}

# raise_token STATE: whoever holds the present token may not act any more.
raise_token() {
    token=0
    [ ! -s "$1/token" ] || read -r token <"$1/token" || :
    case $token in
        '' | *[!0-9]*) token=0 ;;
    esac
    token=$((token + 1))
    put_line "$1/token" "$token"
}
