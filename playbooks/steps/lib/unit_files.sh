# shellcheck shell=sh disable=SC2034,SC2154
# Unit files where systemd reads them: copies of a release's. A link would lead to a file system that may be mounted only
# after systemd has read its units, and then no service would start at boot. The first line of each copy names the release
# it belongs to, "# Slipway: HOME/current" or, in a slot, "# Slipway: HOME/releases/ID": so a file is known as ours. Needs
# home; what installs sets reload=yes when systemd has to read something anew, and needs mounts (see mounts.sh).
#
# The copy of a service's file ends with the mounts that root's links on the host lead to, after a line that says so.
#
# What a deploy (what=deploy) replaces or takes away stays beside it, NAME.slipway-back, until the deploy has proven itself or was
# taken back: on the way back it is put there by a rename, for which a disk that is full by then has room.
units_folder=/etc/systemd/system
mounts_mark='# Slipway: where links lead on this host'

# unit_owner FILE: set unit_of to the release that a unit file or a drop-in belongs to; empty if it is none of this application's.
unit_owner() {
    unit_of=
    if [ -L "$1" ]; then
        # Slipway before November 2026 linked them.
        unit_of=$(readlink "$1")
        case $unit_of in
            "${home:?}"/*/.slipway/unit-files/*) unit_of=${unit_of%%/.slipway/*} ;;
            *) unit_of= ;;
        esac
    elif [ -f "$1" ]; then
        IFS= read -r unit_of <"$1" || :
        case $unit_of in
            "# Slipway: $home/"*) unit_of=${unit_of#'# Slipway: '} ;;
            *) unit_of= ;;
        esac
    fi
}

# unit_is_taken RELEASE-FOLDER NAME: whether something stands in the place of a unit file or a drop-in that is not ours; taken
# tells what, and taken_by whose it is.
unit_is_taken() {
    set -- "$1/.slipway/unit-files/$2" "$units_folder/$2"
    if [ -d "$1" ] && [ ! -L "$2" ]; then
        for taken in "$1"/*; do
            taken=$2/${taken##*/}
            unit_owner "$taken"
            [ -n "$unit_of" ] || [ ! -e "$taken" ] || { is_of_whom && return 0; }
        done
        return 1
    fi
    taken=$2
    unit_owner "$taken"
    [ -z "$unit_of" ] || return 1
    if [ -e "$taken" ] || [ -L "$taken" ]; then
        is_of_whom
        return 0
    fi
    # Ours would be read instead of a package's of the same name: a service called ssh would end the host's sshd.
    for taken in /run/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
        taken=$taken/${2##*/}
        if [ -e "$taken" ] || [ -L "$taken" ]; then
            taken_by="a package's"
            return 0
        fi
    done
    return 1
}

# is_of_whom: set taken_by to whose the file $taken is.
is_of_whom() {
    taken_by="not Slipway's"
    taken_first=
    [ ! -f "$taken" ] || IFS= read -r taken_first <"$taken" || :
    case $taken_first in
        '# Slipway: '/*) taken_first=${taken_first#'# Slipway: '} && taken_by="the unit of another application, in ${taken_first%/*}" ;;
    esac
}

# install_unit RELEASE-FOLDER NAME OWNER: put a release's unit file, or folder of drop-ins, in its place. A folder may hold
# drop-ins of the administrator's, which stay.
install_unit() {
    unit_source=$1/.slipway/unit-files/$2
    unit_place=$units_folder/$2
    if [ ! -d "$unit_source" ]; then
        install_unit_file "$unit_source" "$unit_place" "$3"
        return 0
    fi
    [ ! -L "$unit_place" ] || rm "$unit_place"
    [ -d "$unit_place" ] || mkdir -m 0755 "$unit_place"
    for unit_file in "$unit_source"/*; do install_unit_file "$unit_file" "$unit_place/${unit_file##*/}" "$3"; done
    for unit_file in "$unit_place"/*.conf; do
        unit_owner "$unit_file"
        if [ -n "$unit_of" ] && [ ! -e "$unit_source/${unit_file##*/}" ]; then
            take_unit_file "$unit_file"
            reload=yes
        fi
    done
}

# print_unit FILE: a release's unit file as it is installed.
print_unit() {
    cat "$1"
    case $1 in
        *.service) [ -n "$mounts" ] || return 0 ;;
        *) return 0 ;;
    esac
    [ -z "$(tail -c 1 "$1")" ] || echo
    printf '%s\n[Unit]\n%s' "$mounts_mark" "$mounts"
}

# is_installed FILE PLACE: whether it stands there as it would be installed now.
is_installed() { [ ! -L "$2" ] && [ -f "$2" ] && print_unit "$1" 2>/dev/null | cmp -s - "$2"; }

# print_deployed FILE: an installed unit file as the release has it.
print_deployed() { sed "/^$mounts_mark\$/,\$ { /^$mounts_mark\$/d; /^\[Unit\]\$/d; /^RequiresMountsFor=/d; }" "$1"; }

install_unit_file() {
    ! is_installed "$1" "$2" || return 0
    installed=$installed${2##*/}$newline
    reload=yes
    if is_installed "$1" "$2.slipway-back"; then
        mv -fT "$2.slipway-back" "$2"
        return 0
    fi
    unit_owner "$1"
    # A release that Slipway staged before November 2026 has no first line of ours.
    (
        umask 022
        { [ -n "$unit_of" ] || printf '# Slipway: %s\n' "$3"; } && print_unit "$1"
    ) >"$2.slipway-new"
    chmod 0644 "$2.slipway-new"
    sync "$2.slipway-new"
    if [ "${what:-}" = deploy ] && [ -f "$2" ] && [ ! -L "$2" ]; then ln -f "$2" "$2.slipway-back" 2>/dev/null || :; fi
    mv -fT "$2.slipway-new" "$2"
}

# take_unit_file FILE: nothing of ours is there any more.
take_unit_file() {
    unit_owner "$1"
    if [ -z "$unit_of" ]; then return 0; fi
    if [ "${what:-}" != deploy ] || [ -L "$1" ]; then rm "$1"; else mv -fT "$1" "$1.slipway-back"; fi
}

# forget_units_back: nobody goes back to what was replaced.
forget_units_back() {
    for unit_file in "$units_folder"/*.slipway-back "$units_folder"/*.d/*.slipway-back; do
        unit_owner "$unit_file"
        [ -n "$unit_of" ] || continue
        rm -f "$unit_file"
        rmdir "${unit_file%/*}" 2>/dev/null || :
    done
}

# remove_unit NAME: take a unit file, or our drop-ins, away.
remove_unit() {
    if [ -d "$units_folder/$1" ] && [ ! -L "$units_folder/$1" ]; then
        for unit_file in "$units_folder/$1"/*.conf; do take_unit_file "$unit_file"; done
        rmdir "$units_folder/$1" 2>/dev/null || :
    else
        take_unit_file "$units_folder/$1"
    fi
    reload=yes
}

# disable_unit NAME: no boot starts it any more, under none of its names. Its file must still be there.
disable_unit() { systemctl --no-reload --quiet disable "$1" 2>/dev/null || :; }
