# shellcheck shell=sh disable=SC2154
# drift HOME HOW: what was changed by hand of the release that runs: its files (HOW: see compare_release.sh), its units where
# systemd reads them, and what was put beside those. Changes nothing.
home=$1
how=$2
most=200

# include compare_release.sh
# include find_current.sh
# include own_release.sh
# include unit_files.sh

find_current
release=$home/releases/$current
[ "$current" != - ] && [ -f "$release/.slipway/complete" ] && is_own_release "$release" || exit 0

# compare_unit NAME: a unit file, or a drop-in, where it was installed.
compare_unit() {
    unit_here=$release/.slipway/unit-files/$1
    unit_there=$units_folder/$1
    if [ ! -e "$unit_there" ] && [ ! -L "$unit_there" ]; then
        printf 'unit-missing\t%s\n' "$unit_there"
    elif [ -L "$unit_there" ] || ! cmp -s "$unit_here" "$unit_there"; then
        # A release that was staged before November 2026 has no first line of ours, or its file is linked.
        unit_owner "$unit_here"
        if [ -n "$unit_of" ] || ! tail -n +2 "$unit_there" | cmp -s "$unit_here" -; then printf 'unit\t%s\n' "$unit_there"; fi
    fi
}

compare_units() {
    [ -d "$release/.slipway/unit-files" ] || return 0
    for file in "$release/.slipway/unit-files"/* "$release/.slipway/unit-files"/*/*; do
        [ ! -f "$file" ] || compare_unit "${file#"$release/.slipway/unit-files/"}"
    done
    set --
    while IFS= read -r unit; do set -- "$@" "$unit"; done <"$release/.slipway/units"
    [ $# -gt 0 ] || return 0
    # `systemctl edit` and `systemctl set-property` make such files. What holds for all services is not the application's.
    systemctl show --property=DropInPaths "$@" | sed -n 's/^DropInPaths=//p' | tr ' ' '\n' | sort -u | while IFS= read -r file; do
        case $file in
            '' | */service.d/* | */socket.d/*) ;;
            "$units_folder"/*) [ -e "$release/.slipway/unit-files/${file#"$units_folder/"}" ] || printf 'drop-in\t%s\n' "$file" ;;
            *) printf 'drop-in\t%s\n' "$file" ;;
        esac
    done
}

emit drift_of "$current"
count=0
while IFS= read -r line; do
    [ -n "$line" ] || continue
    count=$((count + 1))
    [ "$count" -gt "$most" ] || emit drift "${line%%"$tab"*}" "${line#*"$tab"}"
done <<END
$(compare_release "$release" "$how" && compare_units)
END
emit count "$count"
