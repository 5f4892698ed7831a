# shellcheck shell=sh
# switch HOME TARGET EXPECTED USER HOOKS FIRST LIMIT
#
# Make a release the current one by one rename, then restart its units. TARGET or EXPECTED "-" means none: that is how a
# first deploy is undone. HOOKS is "hooks" in a deploy and "-" on the way back. LIMIT: seconds the restart may take.
home=$1
target=$2
expected=$3
user=$4
hooks=$5
first=$6
limit=$7
units_folder=/etc/systemd/system

# include hooks.sh

current=-
if [ -L "$home/current" ]; then
    current=$(readlink "$home/current")
    current=${current##*/}
fi
# Somebody else's change since we looked, or our own step come twice: the second is fine.
if [ "$current" != "$expected" ] && [ "$current" != "$target" ]; then
    fail moved "expected $expected to be current, found $current"
fi
old=$home/releases/$current
new=$home/releases/$target
if [ "$target" != - ] && [ ! -f "$new/.slipway/complete" ]; then
    fail incomplete "release $target is not whole on this host"
fi
[ "$hooks" != hooks ] || run_hooks "$new" before_switch "$user" "$first"

list_units() { if [ -f "$1/.slipway/units" ]; then cat "$1/.slipway/units"; fi; }
list_files() { if [ -d "$1/.slipway/unit-files" ]; then ls "$1/.slipway/unit-files"; fi; }

reload=no
[ "$target" != "$current" ] || reload=yes
if [ "$target" != - ]; then
    diff -rq "$old/.slipway/unit-files" "$new/.slipway/unit-files" >/dev/null 2>&1 || reload=yes
    if [ "$hooks" = hooks ] && [ "$current" != "$target" ] && [ "$current" != - ]; then
        printf '%s\n' "$current" | replace_file "$new/.slipway/predecessor"
    fi
    # The deploy: one rename. A link left by a crash between the two lines is simply made anew.
    ln -sfn "releases/$target" "$home/.current.new"
    mv -fT "$home/.current.new" "$home/current"
    sync "$home"
fi

list_units "$new" >"/run/slipway.$$.new"
list_files "$new" >"/run/slipway.$$.files"
trap 'rm -f "/run/slipway.$$.new" "/run/slipway.$$.files"' EXIT
# Units that the target does not have any more.
if [ "$current" != "$target" ]; then
    for unit in $(list_units "$old"); do
        grep -qxF -e "$unit" "/run/slipway.$$.new" && continue
        systemctl stop "$unit" || note "$unit did not stop"
        find "$units_folder" -path '*.wants/*' -name "$unit" -type l -delete
        reload=yes
    done
    for file in $(list_files "$old"); do
        grep -qxF -e "$file" "/run/slipway.$$.files" && continue
        [ ! -L "$units_folder/$file" ] || rm "$units_folder/$file"
        reload=yes
    done
fi
if [ "$target" = - ]; then
    rm -f "$home/current"
    systemctl daemon-reload
    emit switched - 0
    exit 0
fi

fresh=no
while IFS= read -r file; do
    link=$home/current/.slipway/unit-files/$file
    if [ "$(readlink "$units_folder/$file" 2>/dev/null || :)" != "$link" ]; then
        ln -sfn "$link" "$units_folder/$file"
        fresh=yes
    fi
done <"/run/slipway.$$.files"
if [ "$fresh" = yes ] || [ "$reload" = yes ]; then systemctl daemon-reload; fi
if [ -s "/run/slipway.$$.new" ]; then
    # shellcheck disable=SC2046
    set -- $(cat "/run/slipway.$$.new")
    if ! systemctl is-enabled --quiet "$@" 2>/dev/null; then
        systemctl enable --quiet "$@" 2>/dev/null || note 'a unit has no [Install] section: it will not start at boot'
        # systemctl follows our link and would tie the boot to this release, which is pruned one day.
        find "$units_folder" -type l -lname "$home/releases/*" | while IFS= read -r link; do
            ln -sfn "$units_folder/$(basename "$(readlink "$link")")" "$link"
        done
    fi
    systemctl reset-failed "$@" 2>/dev/null || :
    for unit in "$@"; do
        if grep -qxF -e "$unit" "$new/.slipway/reload" && systemctl is-active --quiet "$unit"; then
            systemctl reload "$unit" || note "$unit did not reload"
            continue
        fi
        units_to_restart="${units_to_restart:-} $unit"
    done
    # A unit that fails to start is not this step's error: the health check tells why, with its log.
    # shellcheck disable=SC2086
    [ -z "${units_to_restart:-}" ] || timeout "$limit" systemctl restart $units_to_restart 2>/dev/null || :
fi
[ "$hooks" != hooks ] || run_hooks "$new" after_switch "$user" "$first"
emit switched "$target" "$#"
