# shellcheck shell=sh disable=SC2034,SC2154
# Unit files are copied from a release to where systemd reads them. A link would lead to a file system that may be mounted only
# after systemd has read its units, and then no service would start at boot. The first line of each copy names the release that
# it belongs to, "# Slipway: HOME/current" or, in a slot, "# Slipway: HOME/releases/ID", by which Slipway recognizes its files.
# Needs home. Functions that install set reload=yes if systemd has to read files again, and need mounts (see mounts.sh).
#
# The copy of a service's file ends with the mounts to which root's links on the host lead, after a line that marks them.
#
# A file that a deploy (what=deploy) replaces or removes stays there as NAME.slipway-back, until the deploy is proven or taken
# back. A rename puts it back, which needs no room on a disk that is full by then.
units_folder=/etc/systemd/system
mounts_mark='# Slipway: where links lead on this host'

# unit_owner FILE: set unit_of to the release to which a unit file or a drop-in belongs; to nothing if it does not belong to
# this application.
unit_owner() {
    unit_of=
    if [ -L "$1" ]; then
        # Slipway before November 2026 installed links.
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

# unit_is_taken RELEASE-FOLDER NAME: whether a file that does not belong to this application is where a unit file or a drop-in
# is to be installed. Sets taken to its path and taken_by to its owner.
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
    # systemd would read the release's file instead of a package's: a service called ssh would end the host's sshd.
    for taken in /run/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
        taken=$taken/${2##*/}
        if [ -e "$taken" ] || [ -L "$taken" ]; then
            taken_by="a package's"
            return 0
        fi
    done
    return 1
}

# is_of_whom: set taken_by to the owner of the file $taken.
is_of_whom() {
    taken_by="not Slipway's"
    taken_first=
    [ ! -f "$taken" ] || IFS= read -r taken_first <"$taken" || :
    case $taken_first in
        '# Slipway: '/*) taken_first=${taken_first#'# Slipway: '} && taken_by="the unit of another application, in ${taken_first%/*}" ;;
    esac
}

# install_unit RELEASE-FOLDER NAME OWNER: install a release's unit file or folder of drop-ins. Drop-ins of the administrator's
# in such a folder stay.
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

# print_unit FILE: print a release's unit file as it is installed.
print_unit() {
    cat "$1"
    case $1 in
        *.service) [ -n "$mounts" ] || return 0 ;;
        *) return 0 ;;
    esac
    [ -z "$(tail -c 1 "$1")" ] || echo
    printf '%s\n[Unit]\n%s' "$mounts_mark" "$mounts"
}

# is_installed FILE PLACE: whether FILE is installed at PLACE as it would be now.
is_installed() { [ ! -L "$2" ] && [ -f "$2" ] && print_unit "$1" 2>/dev/null | cmp -s - "$2"; }

# print_deployed FILE: print an installed unit file as the release has it.
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
    # A release that Slipway staged before November 2026 does not have this first line.
    (
        umask 022
        { [ -n "$unit_of" ] || printf '# Slipway: %s\n' "$3"; } && print_unit "$1"
    ) >"$2.slipway-new"
    chmod 0644 "$2.slipway-new"
    sync "$2.slipway-new"
    if [ "${what:-}" = deploy ] && [ -f "$2" ] && [ ! -L "$2" ]; then ln -f "$2" "$2.slipway-back" 2>/dev/null || :; fi
    mv -fT "$2.slipway-new" "$2"
}

# take_unit_file FILE: remove a unit file, if it belongs to this application.
take_unit_file() {
    unit_owner "$1"
    if [ -z "$unit_of" ]; then return 0; fi
    if [ "${what:-}" != deploy ] || [ -L "$1" ]; then rm "$1"; else mv -fT "$1" "$1.slipway-back"; fi
}

# forget_units_back: remove the replaced files, because nobody goes back to them.
forget_units_back() {
    for unit_file in "$units_folder"/*.slipway-back "$units_folder"/*.d/*.slipway-back; do
        unit_owner "$unit_file"
        [ -n "$unit_of" ] || continue
        rm -f "$unit_file"
        rmdir "${unit_file%/*}" 2>/dev/null || :
    done
}

# remove_unit NAME: remove a unit file, or this application's drop-ins.
remove_unit() {
    if [ -d "$units_folder/$1" ] && [ ! -L "$units_folder/$1" ]; then
        for unit_file in "$units_folder/$1"/*.conf; do take_unit_file "$unit_file"; done
        rmdir "$units_folder/$1" 2>/dev/null || :
    else
        take_unit_file "$units_folder/$1"
    fi
    reload=yes
}

# disable_unit NAME: stop boots from starting a unit, under any of its names. Its file must still exist.
disable_unit() { systemctl --no-reload --quiet disable "$1" 2>/dev/null || :; }
