# shellcheck shell=sh disable=SC2154
# switch_to: make $target the current release of $home by one rename, then restart its units; shared by a deploy's switch
# and a guard's undo. Needs home, target ("-": none), current, limit (seconds a restart may take), what (see switch.sh), run.
units_folder=/etc/systemd/system

# write_moved STATE ID: whose the last switch is, from where and to where.
write_moved() { printf '%s %s %s\n' "$2" "$current" "$target" | replace_file "$1/moved"; }

list_units() { if [ -f "$1/.slipway/units" ]; then cat "$1/.slipway/units"; fi; }
list_files() { if [ -d "$1/.slipway/unit-files" ]; then ls "$1/.slipway/unit-files"; fi; }

switch_to() {
    old=$home/releases/$current
    new=$home/releases/$target
    lists=$run/switch
    rm -rf "$lists"
    mkdir -p "$lists"
    list_units "$new" >"$lists/units"
    list_files "$new" >"$lists/files"
    reload=no
    [ "$target" != "$current" ] || reload=yes
    [ "$target" = - ] || [ "$target" = "$current" ] || rename
    [ "$current" = "$target" ] || remove_former
    if [ "$target" = - ]; then
        rm -f "$home/current"
        systemctl daemon-reload
    else
        link_units
        # shellcheck disable=SC2046
        [ ! -s "$lists/units" ] || start_units $(cat "$lists/units")
    fi
    rm -rf "$lists"
}

rename() {
    diff -rq "$old/.slipway/unit-files" "$new/.slipway/unit-files" >/dev/null 2>&1 || reload=yes
    if [ "$what" = deploy ] && [ "$current" != - ]; then
        printf '%s\n' "$current" | replace_file "$new/.slipway/predecessor"
    fi
    # The deploy: one rename. A link left by a crash between the two lines is simply made anew.
    if [ "$(readlink "$home/.way-back" 2>/dev/null || :)" = "releases/$target" ]; then
        mv -fT "$home/.way-back" "$home/current"
    else
        ln -sfn "releases/$target" "$home/.current.new"
        mv -fT "$home/.current.new" "$home/current"
    fi
    sync "$home"
}

# Units that the target does not have any more.
remove_former() {
    for unit in $(list_units "$old"); do
        grep -qxF -e "$unit" "$lists/units" && continue
        timeout "$limit" systemctl stop "$unit" || note "$unit did not stop"
        find "$units_folder" -path '*.wants/*' -name "$unit" -type l -delete
        reload=yes
    done
    for file in $(list_files "$old"); do
        grep -qxF -e "$file" "$lists/files" && continue
        [ ! -L "$units_folder/$file" ] || rm "$units_folder/$file"
        reload=yes
    done
}

link_units() {
    while IFS= read -r file; do
        link=$home/current/.slipway/unit-files/$file
        if [ "$(readlink "$units_folder/$file" 2>/dev/null || :)" != "$link" ]; then
            ln -sfn "$link" "$units_folder/$file"
            reload=yes
        fi
    done <"$lists/files"
    [ "$reload" = no ] || systemctl daemon-reload
}

start_units() {
    if ! systemctl is-enabled --quiet "$@" 2>/dev/null; then
        systemctl enable --quiet "$@" 2>/dev/null || note 'a unit has no [Install] section: it will not start at boot'
        # systemctl follows our link and would tie the boot to this release, which is pruned one day.
        find "$units_folder" -type l -lname "$home/releases/*" | while IFS= read -r link; do
            ln -sfn "$units_folder/$(basename "$(readlink "$link")")" "$link"
        done
    fi
    systemctl reset-failed "$@" 2>/dev/null || :
    restart=
    for unit in "$@"; do
        if grep -qxF -e "$unit" "$new/.slipway/reload" && systemctl is-active --quiet "$unit"; then
            systemctl reload "$unit" || note "$unit did not reload"
        else
            restart="$restart $unit"
        fi
    done
    # A unit that fails to start is not this step's error: the health check tells why, with its log.
    # shellcheck disable=SC2086
    [ -z "$restart" ] || restart_units $restart
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
    for unit in "$@"; do kill_deaf "$unit" || :; done
    # Not restart: what was killed is started by the job that waited for its end, and would be stopped once more.
    timeout "$limit" systemctl start "$@" 2>/dev/null || :
}

# kill_deaf UNIT: whether it had to be killed.
kill_deaf() {
    [ "$(systemctl show --property=ActiveState --value "$1")" = deactivating ] || return 1
    note "$1 does not stop: killed"
    systemctl kill --signal=KILL "$1" 2>/dev/null || :
}
