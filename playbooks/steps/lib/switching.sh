# shellcheck shell=sh disable=SC2154
# switch_to: make $target the current release of $home by one rename, then restart its units; shared by a deploy's switch
# and a guard's undo. Needs home, target ("-": none), current, limit (seconds a restart may take), what (see switch.sh), run.
#
# Between slots the rename moves nothing that runs: the target's units are started beside the others, which run on for the
# way back. Only what=back stops those that it leaves: left is that release. For the others, see idle.sh.
# include mounts.sh
# include slots.sh
# include unit_said.sh

# write_moved STATE ID: whose the last switch is, from where and to where.
write_moved() { put_line "$1/moved" "$2 $current $target"; }

# read_lists RELEASE: set slot; listed_units and listed_files, a name a line; those of its slot are slot_units and
# slot_files. Nothing is started for it.
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

# read_installed: set listed_units and listed_files to what is installed of the release that is current.
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

# has LIST NAME
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
    # Somebody has removed it: what it left is where systemd reads it.
    [ "$current" = - ] || [ -f "$old/.slipway/units" ] || read_installed
    old_units=$listed_units
    old_files=$listed_files
    old_slot=$slot
    read_lists "$new"
    reload=no
    installed=
    # What is started now is not to be stopped by the timer of a time without traffic; see idle_host.sh.
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

# Make the slot the target's: what else is in it ends. A release that takes the place of the one before has both ended. A
# unit is stopped before its file becomes another one: so what runs under a file that is ours is this very release.
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
    # What it goes back to: what ran, unless that is gone.
    [ "$what" != deploy ] || put_line "$new/.slipway/predecessor" "$way_back"
    # The deploy: one rename. A link left by a crash between the two lines is simply made anew.
    if [ "$what" != deploy ] && [ "$(readlink "$home/.way-back" 2>/dev/null || :)" = "releases/$target" ]; then
        mv -fT "$home/.way-back" "$home/current"
        # It was made before; since when it is current, its time says.
        touch --no-dereference "$home/current" 2>/dev/null || :
    else
        ln -sfn "releases/$target" "$home/.current.new"
        mv -fT "$home/.current.new" "$home/current"
    fi
    sync "$home"
}

# Units that the target does not have any more.
remove_former() {
    for unit in $old_units; do
        ! has "$listed_units" "$unit" || continue
        timeout "$limit" systemctl stop "$unit" || note "$unit did not stop"
        # Without a file a failed unit stays failed for good, and its host degraded.
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

# What a unit that has changed says of itself in [Install] may have changed, too: other names, other targets.
enable_anew() {
    set --
    for unit in $listed_units; do
        file=$unit
        case $unit in *@*.*) file=${unit%%@*}@.${unit##*.} ;; esac
        if has "$installed" "$file" && is_enabled "$unit"; then set -- "$@" "$unit"; fi
    done
    [ $# -eq 0 ] || systemctl --no-reload --quiet reenable "$@" 2>/dev/null || :
}

# Whether a boot starts it: what systemctl enable makes is a link in the folder of the unit that wants it.
is_enabled() {
    for link in "$units_folder"/*.wants/"$1" "$units_folder"/*.requires/"$1"; do
        [ ! -L "$link" ] || return 0
    done
    systemctl is-enabled --quiet "$1" 2>/dev/null
}

enable_units() {
    # Slipway before November 2026 left links into releases: names of units, and what targets want.
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
    # What runs in the slot already is this release, and stays up.
    begun=$begun$slot_units
    reloaded=
    while IFS= read -r name; do reloaded=$reloaded$name$newline; done <"$new/.slipway/reload"
    # Nobody looks at what a guard does, and a way back has to come true: a reload may end well and load nothing.
    if [ "$what" = back ] || [ "${by_guard:-}" = yes ]; then reloaded=; fi
    restart=
    unreloaded=
    for unit in "$@"; do
        case $unit in *.socket) continue ;; esac
        if has "$begun" "$unit"; then
            continue
        elif has "$reloaded" "$unit" && systemctl is-active --quiet "$unit"; then
            timeout "$limit" systemctl reload "$unit" 2>/dev/null || {
                # Asked now: reset-failed forgets it.
                [ -n "$unreloaded" ] || why=$(systemctl show --property=ReloadResult --value "$unit")
                unreloaded="$unreloaded $unit"
            }
        else
            restart="$restart $unit"
        fi
    done
    # What it goes back to has to run, by a restart if need be.
    [ "$what" = deploy ] || restart="$restart $unreloaded"
    # shellcheck disable=SC2086
    [ -z "${restart# }" ] || stop_restless $restart
    # Starts and restarts that went before do not count against this one.
    systemctl reset-failed "$@" 2>/dev/null || :
    # A unit that fails to start is not this step's error: the health check tells why, with its log.
    # shellcheck disable=SC2086
    [ -z "$begun" ] || timeout "$limit" systemctl start $begun 2>/dev/null || :
    # shellcheck disable=SC2086
    [ -z "${restart# }" ] || restart_units $restart
    # One that did not reload runs on with the old code, and looks healthy.
    if [ "$what" = deploy ] && [ -n "$unreloaded" ]; then
        unit=${unreloaded# }
        unit=${unit%% *}
        unit_said "$unit"
        printf '%s' "$said" | tr '\036' '\n' | while IFS= read -r line; do note "$unit: $line"; done
        fail reload "$unit did not reload ($why), so the old code still answers"
    fi
}

# A socket stays open while its service restarts, so that whoever connects then waits and is not refused; unless it is to
# be another one. It is closed before systemd reads its new file: after that what it was is forgotten.
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

# Both at once: a socket that is told to stop starts nothing any more.
stop_socket() {
    [ "$what" = deploy ] || kill_deaf "${1%.socket}.service" || :
    timeout "$limit" systemctl stop "$1" "${1%.socket}.service" || note "${1%.socket} did not stop"
}

# systemd opens no socket whose service runs. Sets begun: the services that have to be started then.
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

# On the way back nobody waits for a unit that is deaf to SIGTERM: it is not what was asked for.
restart_units() {
    if [ "$what" = deploy ]; then
        timeout "$limit" systemctl restart "$@" 2>/dev/null || :
        return 0
    fi
    living=
    for unit in "$@"; do kill_deaf "$unit" || living="$living $unit"; done
    # shellcheck disable=SC2086
    [ -z "$living" ] || timeout "$limit" systemctl restart $living 2>/dev/null || :
    # Not all: what was killed above may have been started anew by now, and would be killed in its first moment.
    for unit in $living; do kill_deaf "$unit" || :; done
    # Not restart: what was killed is started by the job that waited for its end, and would be stopped once more.
    timeout "$limit" systemctl start "$@" 2>/dev/null || :
}

# stop_restless UNIT...: what systemd has restarted by itself may be restarted so once more, just before it is told to, and
# that would count against what it is to be.
stop_restless() {
    [ -n "$(systemctl show --property=NRestarts --value "$@" | tr -d '0\n')" ] || return 0
    for unit in "$@"; do
        case $(systemctl show --property=NRestarts --value "$unit") in
            '' | 0) ;;
            *) timeout "$limit" systemctl stop "$unit" 2>/dev/null || kill_deaf "$unit" || : ;;
        esac
    done
}

# kill_deaf UNIT: whether it had to be killed.
kill_deaf() {
    [ "$(systemctl show --property=ActiveState --value "$1")" = deactivating ] || return 1
    note "$1 does not stop: killed"
    systemctl kill --signal=KILL "$1" 2>/dev/null || :
}
