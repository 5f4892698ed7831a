# shellcheck shell=sh disable=SC2154
# switch_to: make $target the current release of $home by one rename, then restart its units. The switch of a deploy and the
# undo of a guard share it. Needs home, target ("-": none), current, limit (seconds that a restart may take), what (see
# switch.sh) and run.
#
# Between slots the rename changes nothing that runs: the target's units start beside the others, which keep running for the way
# back. Only what=back stops the units of the release that it leaves, which is $left. For other cases see idle.sh.
# include mounts.sh
# include slots.sh
# include unit_said.sh

# write_moved STATE ID: write down the last switch: its id, and the releases from which and to which it moved.
write_moved() { put_line "$1/moved" "$2 $current $target"; }

# read_lists RELEASE: set slot; set listed_units and listed_files, with a name in each line; set slot_units and slot_files to
# those of its slot. It starts no program.
read_lists() {
    listed_units=
    listed_files=
    slot_units=
    slot_files=
    read_slot "$1"
    if [ -f "$1/.slipway/units" ]; then
        while IFS= read -r name; do
            if in_slot "$1" "$name"; then slot_units=$slot_units$name$newline; else listed_units=$listed_units$name$newline; fi
        done <"$1/.slipway/units"
    fi
    for name in "$1/.slipway/unit-files"/*; do
        [ -e "$name" ] || continue
        name=${name##*/}
        if in_slot "$1" "$name"; then slot_files=$slot_files$name$newline; else listed_files=$listed_files$name$newline; fi
    done
}

# read_installed: set listed_units and listed_files to what is installed of the current release.
read_installed() {
    listed_units=
    listed_files=
    for file in "$units_folder"/*.service "$units_folder"/*.socket "$units_folder"/*.timer "$units_folder"/*.d/*.conf; do
        unit_owner "$file"
        [ "$unit_of" = "$home/current" ] || continue
        case $file in
            *.d/*.conf)
                file=${file%/*}
                has "$listed_files" "${file##*/}" || listed_files=$listed_files${file##*/}$newline
                ;;
            *@.*) listed_files=$listed_files${file##*/}$newline ;;
            *)
                listed_files=$listed_files${file##*/}$newline
                listed_units=$listed_units${file##*/}$newline
                ;;
        esac
    done
}

# has LIST NAME: whether a line of a list is NAME.
has() {
    case $newline$1 in
        *"$newline$2$newline"*) return 0 ;;
        *) return 1 ;;
    esac
}

switch_to() {
    old=$home/releases/$current
    new=$home/releases/$target
    read_lists "$old"
    # If somebody has removed the old release, the installed files say which units it had.
    [ "$current" = - ] || [ -f "$old/.slipway/units" ] || read_installed
    old_units=$listed_units
    old_files=$listed_files
    old_slot=$slot
    read_lists "$new"
    reload=no
    installed=
    # A timer for a time without traffic must not stop units that start now; see idle_host.sh.
    cancel_idle all-units
    rm -f "$state/idle/stopped"
    [ "$target" != "$current" ] || reload=yes
    [ "$target" = - ] || [ "$target" = "$current" ] || rename
    [ "$current" = "$target" ] || remove_former
    if [ "$target" = - ]; then
        rm -f "$home/current"
        systemctl daemon-reload
    else
        close_sockets
        find_release_mounts "$new"
        [ -z "$slot$old_slot" ] || take_slot
        install_units
        # shellcheck disable=SC2086
        [ -z "$listed_units$slot_units" ] || start_units $listed_units $slot_units
    fi
    if [ "$what" = back ] && [ "$left" != "$target" ]; then leave_slot "$left"; fi
    [ "$what" = deploy ] || forget_units_back
}

# take_slot: make the slot the target's, and end everything else in it. A release without a slot ends both slots. A unit is
# stopped before its file is replaced, so a unit that runs under a file of the target's runs the target.
take_slot() {
    for folder in "$state/idle"/*; do
        name=${folder##*/}
        if [ "$name" = "$slot" ] || [ -z "$slot" ]; then cancel_idle "$name"; fi
    done
    for file in $(units_in_slots); do
        name=${file##*/}
        if [ -n "$slot" ]; then
            case $name in *@"$slot".service | *@"$slot".service.d) ;; *) continue ;; esac
            [ "${file%/*}" != "$target" ] || continue
        fi
        drop_unit "$name"
    done
    for name in $slot_files; do install_unit "$new" "$name" "$new"; done
}

rename() {
    # The way back leads to the release that ran, unless that is gone.
    [ "$what" != deploy ] || put_line "$new/.slipway/predecessor" "$way_back"
    # The deploy is this one rename. A link that a crash left between the two lines is made again.
    if [ "$what" != deploy ] && [ "$(readlink "$home/.way-back" 2>/dev/null || :)" = "releases/$target" ]; then
        mv -fT "$home/.way-back" "$home/current"
        # The link was made earlier, and its time must say since when it is current.
        touch --no-dereference "$home/current" 2>/dev/null || :
    else
        ln -sfn "releases/$target" "$home/.current.new"
        mv -fT "$home/.current.new" "$home/current"
    fi
    sync "$home"
}

# remove_former: stop and remove units that the target does not have.
remove_former() {
    for unit in $old_units; do
        ! has "$listed_units" "$unit" || continue
        timeout "$limit" systemctl stop "$unit" || note "$unit did not stop"
        # A failed unit without a file stays failed for good, and keeps its host degraded.
        systemctl reset-failed "$unit" 2>/dev/null || :
        disable_unit "$unit"
        reload=yes
    done
    for file in $old_files; do
        ! has "$listed_files" "$file" || continue
        remove_unit "$file"
    done
}

install_units() {
    for file in $listed_files; do install_unit "$new" "$file" "$home/current"; done
    [ "$reload" = no ] || {
        sync "$units_folder"
        enable_anew
        systemctl daemon-reload
    }
}

# enable_anew: enable changed units again, because their [Install] sections may have other names and other targets now.
enable_anew() {
    set --
    for unit in $listed_units; do
        file=$unit
        case $unit in *@*.*) file=${unit%%@*}@.${unit##*.} ;; esac
        if has "$installed" "$file" && is_enabled "$unit"; then set -- "$@" "$unit"; fi
    done
    [ $# -eq 0 ] || systemctl --no-reload --quiet reenable "$@" 2>/dev/null || :
}

# is_enabled UNIT: whether a boot starts a unit. systemctl enable makes a link in the folder of the unit that wants it.
is_enabled() {
    for link in "$units_folder"/*.wants/"$1" "$units_folder"/*.requires/"$1"; do
        [ ! -L "$link" ] || return 0
    done
    systemctl is-enabled --quiet "$1" 2>/dev/null
}

enable_units() {
    # Slipway before November 2026 made links into releases, as unit files and in the folders of targets that want units.
    find "$units_folder" -type l -lname "$home/*" -delete
    systemctl enable --quiet "$@" 2>/dev/null || note 'a unit has no [Install] section: it will not start at boot'
}

start_units() {
    for unit in "$@"; do
        is_enabled "$unit" || {
            enable_units "$@"
            break
        }
    done
    open_sockets "$@"
    # A unit that runs in the slot already belongs to this release, and stays up.
    begun=$begun$slot_units
    reloaded=
    while IFS= read -r name; do reloaded=$reloaded$name$newline; done <"$new/.slipway/reload"
    # Restart, because a reload may succeed and load nothing: nobody checks what a guard does, and a way back must work.
    if [ "$what" = back ] || [ "${by_guard:-}" = yes ]; then reloaded=; fi
    restart=
    unreloaded=
    for unit in "$@"; do
        case $unit in *.socket) continue ;; esac
        if has "$begun" "$unit"; then
            continue
        elif has "$reloaded" "$unit" && systemctl is-active --quiet "$unit"; then
            timeout "$limit" systemctl reload "$unit" 2>/dev/null || {
                # This is asked now, because reset-failed clears it.
                [ -n "$unreloaded" ] || why=$(systemctl show --property=ReloadResult --value "$unit")
                unreloaded="$unreloaded $unit"
            }
        else
            restart="$restart $unit"
        fi
    done
    # The release to go back to must run, so a restart replaces a failed reload.
    [ "$what" = deploy ] || restart="$restart $unreloaded"
    # shellcheck disable=SC2086
    [ -z "${restart# }" ] || stop_restless $restart
    # Clear the counters, so that earlier starts and restarts do not count against this one.
    systemctl reset-failed "$@" 2>/dev/null || :
    # A unit that fails to start does not fail this step, because the health check reports why, with the unit's log.
    # shellcheck disable=SC2086
    [ -z "$begun" ] || timeout "$limit" systemctl start $begun 2>/dev/null || :
    # shellcheck disable=SC2086
    [ -z "${restart# }" ] || restart_units $restart
    # A unit that did not reload runs on with the old code, and looks healthy.
    if [ "$what" = deploy ] && [ -n "$unreloaded" ]; then
        unit=${unreloaded# }
        unit=${unit%% *}
        unit_said "$unit"
        printf '%s' "$said" | tr '\036' '\n' | while IFS= read -r line; do note "$unit: $line"; done
        fail reload "$unit did not reload ($why), so the old code still answers"
    fi
}

# close_sockets: close a socket that is to change, before systemd reads its new file and forgets the old one. Every other socket
# stays open while its service restarts, so that clients wait and are not refused.
close_sockets() {
    [ "$target" != "$current" ] || return 0
    for unit in $old_units; do
        case $unit in
            *@*.socket) file=${unit%%@*}@.socket ;;
            *.socket) file=$unit ;;
            *) continue ;;
        esac
        cmp -s "$old/.slipway/unit-files/$file" "$new/.slipway/unit-files/$file" || stop_socket "$unit"
    done
}

# stop_socket SOCKET: stop a socket and its service at once, because a socket that is told to stop starts nothing any more.
stop_socket() {
    [ "$what" = deploy ] || kill_deaf "${1%.socket}.service" || :
    timeout "$limit" systemctl stop "$1" "${1%.socket}.service" || note "${1%.socket} did not stop"
}

# open_sockets UNIT...: open the sockets. systemd opens no socket whose service runs, so the service is stopped first. Sets
# begun to the services that must be started afterwards.
open_sockets() {
    begun=
    for unit in "$@"; do
        case $unit in *.socket) ;; *) continue ;; esac
        ! systemctl is-active --quiet "$unit" || continue
        stop_socket "$unit"
        systemctl start "$unit" 2>/dev/null || note "$unit did not start"
        begun=$begun${unit%.socket}.service$newline
    done
}

# restart_units UNIT...: restart units. On the way back nobody waits for a unit that ignores SIGTERM, because its release was
# not asked for.
restart_units() {
    if [ "$what" = deploy ]; then
        timeout "$limit" systemctl restart "$@" 2>/dev/null || :
        return 0
    fi
    living=
    for unit in "$@"; do kill_deaf "$unit" || living="$living $unit"; done
    # shellcheck disable=SC2086
    [ -z "$living" ] || timeout "$limit" systemctl restart $living 2>/dev/null || :
    # Leave out the units that were killed above: they may have started again by now, and would be killed in their first moment.
    for unit in $living; do kill_deaf "$unit" || :; done
    # start and not restart: the job that waited for the end of a killed unit starts it, and a restart would stop it again.
    timeout "$limit" systemctl start "$@" 2>/dev/null || :
}

# stop_restless UNIT...: stop units that systemd has restarted by itself. It may restart them again just before they are told
# to, and that would count against the new release.
stop_restless() {
    [ -n "$(systemctl show --property=NRestarts --value "$@" | tr -d '0\n')" ] || return 0
    for unit in "$@"; do
        case $(systemctl show --property=NRestarts --value "$unit") in
            '' | 0) ;;
            *) timeout "$limit" systemctl stop "$unit" 2>/dev/null || kill_deaf "$unit" || : ;;
        esac
    done
}

# kill_deaf UNIT: kill a unit that does not stop when it is told to. The status is whether it had to be killed.
kill_deaf() {
    [ "$(systemctl show --property=ActiveState --value "$1")" = deactivating ] || return 1
    note "$1 does not stop: killed"
    systemctl kill --signal=KILL "$1" 2>/dev/null || :
}
