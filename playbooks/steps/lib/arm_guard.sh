# shellcheck shell=sh disable=SC2034,SC2154
# include guard.sh
# include while_exists.sh

# arm_guard TARGET HOME: set a guard that takes the host back to TARGET. Does nothing if the guard of this deploy is armed.
# The undo's script, with its values in front, comes on standard input. TARGET "traffic" is for a balancer: $retreat (the
# failover weights) and $rest (the final weights) are copied into the guard (see balancer.sh), and HOME is its state folder.
# Needs state, id, guard_seconds, undo_bytes; settle for a balancer; mounts (find_mounts, see mounts.sh).
arm_guard() {
    guard_names "$state"
    if [ "$guard_id" = "$id" ] && [ -e "$guard/armed" ]; then
        head -c "$undo_bytes" >/dev/null
        return 0
    fi
    ! guard_waits || fail guarded "another deploy's guard is on this host: $guard_id"
    [ -z "$guard_id" ] || remove_guard
    undo=$(head -c "$undo_bytes")
    case $undo in
        *'# whole') ;;
        *) fail cut 'the guard did not arrive whole' ;;
    esac
    [ ! -e "$guard.new" ] || rm -rf "$guard.new"
    mkdir -p "$guard.new" "$run" /etc/systemd/system/timers.target.wants
    # The link to go back to is made now: later the disk may be too full for a link.
    case $1 in
        traffic)
            cp "${retreat:?}" "$guard.new/retreat"
            cp "${rest:?}" "$guard.new/rest"
            printf '%s\n' "${settle:?}" >"$guard.new/settle"
            ;;
        -) rm -f "$2/.way-back" ;;
        *) ln -sfn "releases/$1" "$2/.way-back" ;;
    esac
    printf '%s\n' "$undo" >"$guard.new/undo"
    printf '%s\n' "$id" >"$guard.new/id"
    printf '%s\n' "$guard_seconds" >"$guard.new/seconds"
    printf '%s\n' "$1" >"$guard.new/target"
    # remove_guard reads the folder from its first line. Before December 2026 the undo's other values followed.
    printf '%s\n' "$2" >"$guard.new/arguments"
    : >"$guard.new/armed"
    # The folder before the units: a unit without its folder does nothing, a folder without its unit would never end.
    mv -T "$guard.new" "$guard"
    guard_names "${guard%/guard}"
    units=/etc/systemd/system
    # CollectMode: if the unit fails while it is removed, systemd forgets it. StartLimitIntervalSec=0: the timer starts the
    # unit every few seconds, and systemd would refuse the sixth start within ten seconds.
    printf '%s\n' '[Unit]' "Description=Slipway: take ${guard_unit#slipway-guard-} back, since its controller is silent" \
        "RequiresMountsFor=$state $2" ${mounts:+"${mounts%"$newline"}"} StartLimitIntervalSec=0 CollectMode=inactive-or-failed '[Service]' Type=oneshot \
        "ExecStart=$(while_exists "$guard/undo")" \
        >"$units/$guard_unit.service"
    printf '%s\n' '[Unit]' "Description=Slipway: guard of ${guard_unit#slipway-guard-}" \
        StartLimitIntervalSec=0 CollectMode=inactive-or-failed '[Timer]' "OnActiveSec=$guard_seconds" \
        "OnUnitInactiveSec=$((guard_seconds / 10 + 1))" AccuracySec=250ms >"$units/$guard_unit.timer"
    # By this link a reboot starts the timer.
    ln -sfn "$units/$guard_unit.timer" "$units/timers.target.wants/$guard_unit.timer"
    # The whole guard is on disk before anything is changed.
    sync "$guard"/* "$guard" "$units/$guard_unit.service" "$units/$guard_unit.timer" "$units/timers.target.wants" "$units" \
        "${guard%/*}"
    beat_now
    systemctl start "$guard_unit.timer" || {
        why=$(systemctl show --property=Result --property=LoadError "$guard_unit.timer" | tr '\n' ' ')
        remove_guard
        fail guard "systemd does not start this host's guard: $why"
    }
}
