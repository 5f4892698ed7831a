# shellcheck shell=sh disable=SC2154
# drift: report what was changed by hand since the running release was deployed. Changes nothing.
# needs: home how
#
# That is: files of the release (how: see compare_release.sh), its units in systemd's folders, and drop-ins beside them.
most=200

# include compare_release.sh
# include find_current.sh
# include mounts.sh
# include own_release.sh
# include unit_files.sh

find_current
release=$home/releases/$current
[ "$current" != - ] && [ -f "$release/.slipway/complete" ] && is_own_release "$release" || exit 0

# compare_unit NAME: compare a unit file or drop-in of the release with the installed one.
compare_unit() {
    unit_here=$release/.slipway/unit-files/$1
    unit_there=$units_folder/$1
    if [ ! -e "$unit_there" ] && [ ! -L "$unit_there" ]; then
        printf 'unit-missing\t%s\n' "$unit_there"
    elif ! is_installed "$unit_here" "$unit_there"; then
        unit_kind=unit
        # A release that was staged before November 2026 has no first line of ours, or its file is linked.
        unit_owner "$unit_here"
        if [ -z "$unit_of" ]; then
            ! print_deployed "$unit_there" | tail -n +2 | cmp -s "$unit_here" - || return 0
        elif [ ! -L "$unit_there" ] && print_deployed "$unit_there" | cmp -s "$unit_here" -; then
            unit_kind=mounts
        fi
        printf '%s\t%s\n' "$unit_kind" "$unit_there"
    fi
}

compare_units() {
    [ -d "$release/.slipway/unit-files" ] || return 0
    find_release_mounts "$release"
    for file in "$release/.slipway/unit-files"/* "$release/.slipway/unit-files"/*/*; do
        [ ! -f "$file" ] || compare_unit "${file#"$release/.slipway/unit-files/"}"
    done
    set --
    while IFS= read -r unit; do set -- "$@" "$unit"; done <"$release/.slipway/units"
    [ $# -gt 0 ] || return 0
    unit_path=$(systemctl show --property=UnitPath --value)
    # shellcheck disable=SC2086
    real_folders=$newline$(readlink -f $unit_path || :)$newline
    folders=
    for folder in $unit_path; do
        # Debian has /lib as a link to /usr/lib.
        case $real_folders in *"$newline$folder$newline"*) folders="$folders $folder" ;; esac
    done
    for unit in "$@"; do compare_drop_ins "$unit"; done | sort -u | while IFS=$tab read -r kind file; do
        case $file in
            "$units_folder"/*) [ -e "$release/.slipway/unit-files/${file#"$units_folder/"}" ] || printf '%s\t%s\n' "$kind" "$file" ;;
            *) printf '%s\t%s\n' "$kind" "$file" ;;
        esac
    done
}

# compare_drop_ins UNIT: report drop-ins that systemd has read for a unit, or would read. Their folder has the unit's name, its
# template's, or a prefix up to a dash (systemd.unit(5)). `systemctl edit` and `systemctl set-property` make them. Drop-ins for
# all services are left out.
compare_drop_ins() {
    type=${1##*.}
    stem=${1%.*}
    {
        read -r loaded
        read -r reload
    } <<END
$(systemctl show --property=DropInPaths --property=NeedDaemonReload "$1" | sort | sed 's/^[^=]*=//; s/"/ /g')
END
    [ "$reload" != yes ] || printf 'unread\t%s\n' "$1"
    # A removed drop-in stays in effect until systemd reads its files again.
    for file in $loaded; do
        case $file in
            */"$type.d"/*) ;;
            /*.conf) printf 'drop-in\t%s\n' "$file" ;;
        esac
    done
    set -- "$1" "$stem" "${stem%%@*}@"
    name=${stem%%@*}
    while [ "$name" != "${name%-*}" ]; do
        name=${name%-*}
        set -- "$@" "$name-"
    done
    unit=$1
    shift
    for folder in $folders; do
        for name in "$@"; do
            for file in "$folder/$name.$type.d"/*.conf; do
                if [ ! -e "$file" ] && [ ! -L "$file" ]; then continue; fi
                printf 'drop-in\t%s\n' "$file"
                # systemd does not report a new folder in NeedDaemonReload.
                case " $loaded " in
                    *"/${file##*/} "*) ;;
                    *) [ ! -s "$file" ] || printf 'unread\t%s\n' "$unit" ;;
                esac
            done
        done
        # A unit file in one of these folders replaces ours.
        case $folder in
            */system.control | */transient | */generator.early) [ ! -e "$folder/$unit" ] || printf 'unit\t%s\n' "$folder/$unit" ;;
        esac
    done
}

# gravest_first: put added files last, or else many of them would push out all other changes.
gravest_first() {
    awk -F '\t' '$1 != "added" { print; next } { added[++count] = $0 } END { for (i = 1; i <= count; i++) print added[i] }'
}

emit drift_of "$current"
count=0
while IFS= read -r line; do
    [ -n "$line" ] || continue
    count=$((count + 1))
    [ "$count" -gt "$most" ] || emit drift "${line%%"$tab"*}" "${line#*"$tab"}"
done <<END
$({ compare_release "$release" "$how" && compare_units; } | gravest_first)
END
emit count "$count"
