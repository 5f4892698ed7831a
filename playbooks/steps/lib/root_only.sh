# shellcheck shell=sh disable=SC2034,SC2154
# Which part of a path somebody else than root can change. Root works by name only on paths, and parts of paths, that are
# root's alone from / on: nobody can put a link there between two looks.

# find_foreign PATH: set foreign to the first folder (or file) on the way to PATH, itself included, that somebody else than
# root can change, or to nothing; set place to PATH without the links before that, which are root's. What does not
# exist yet belongs to whoever may make it. The last folder that exists may also give away what root makes in it.
find_foreign() { find_foreign_at_once "$1" || find_foreign_by_parts "$1"; }

# find_foreign_at_once: by one program, which is nearly always enough; a link, a sticky folder or a gap is looked at part by
# part.
find_foreign_at_once() {
    foreign=
    place=$1
    case $1/ in *//* | */./* | */../*) return 1 ;; esac
    while :; do
        case $1 in
            /*/*) set -- "${1%/*}" "$@" ;;
            *) break ;;
        esac
    done
    foreign_seen=$(ls -ldnUb -- "$@" 2>/dev/null) || return 1
    while read -r foreign_mode _ foreign_owner _; do
        case "$foreign_owner ${foreign_mode%.}" in
            # An access list, too, of which one for what is made there later shows in no mode.
            *' l'* | '0 '????????w[tT] | '0 '??????????+) return 1 ;;
            # Neither others nor a group may write: where there is an access list, the group's bit tells of it.
            '0 '?????-??-?) shift ;;
            *)
                foreign=$1
                return 0
                ;;
        esac
    done <<END_OF_MODES
$foreign_seen
END_OF_MODES
}

find_foreign_by_parts() {
    foreign=
    place=
    foreign_rest=${1#/}/
    foreign_links=0
    foreign_last=/
    while [ -n "$foreign_rest" ]; do
        foreign_part=${foreign_rest%%/*}
        foreign_rest=${foreign_rest#*/}
        case $foreign_part in
            '' | .) continue ;;
            ..) place=${place%/*} && continue ;;
        esac
        foreign_next=$place/$foreign_part
        # In a folder of root's alone a link is where root put it, whoever owns it.
        if [ -L "$foreign_next" ]; then
            foreign_links=$((foreign_links + 1))
            [ "$foreign_links" -le 40 ] || fail usage "$1 leads round in circles"
            foreign_target=$(readlink "$foreign_next")
            foreign_rest=${foreign_target#/}/$foreign_rest
            case $foreign_target in /*) place= ;; esac
            continue
        fi
        place=$foreign_next
        [ -e "$place" ] || continue
        foreign_last=$place
        while :; do
            case $foreign_rest in
                /*) foreign_rest=${foreign_rest#/} ;;
                ./*) foreign_rest=${foreign_rest#./} ;;
                *) break ;;
            esac
        done
        case $(stat -c '%u %g %A' "$place") in
            # Others may write, or a group. In a sticky folder nobody moves what root has in it; what
            # somebody else has there, be it a link, is that one's to replace.
            '0 '*' '????????w[tT]) [ "$(stat -c %u "$place/${foreign_rest%%/*}" 2>/dev/null)" != 0 ] || [ -z "$foreign_rest" ] || continue ;;
            '0 '*' '????????w?) ;;
            '0 '*' '?????-????) continue ;;
        esac
        foreign=$place
        break
    done
    # The rest as it is written: nobody can say what links in it lead to.
    while [ -n "$foreign_rest" ]; do
        [ -z "${foreign_rest%%/*}" ] || place=$place/${foreign_rest%%/*}
        foreign_rest=${foreign_rest#*/}
    done
    place=${place:-/}
    if [ -z "$foreign" ] && gives_away "$foreign_last"; then foreign=$foreign_last; fi
}

# gives_away FOLDER: whether it has an access list for what is made in it later. Of what root makes there, others may write what
# that list says: no umask is asked then, and neither the folder's owner nor its mode tells of it. Whose folder it once was may
# have left it there. Hosts need have no getfacl(1); tar can tell.
gives_away() {
    [ -d "$1" ] || return 1
    case $(ls -ldb -- "$1") in ??????????+*) ;; *) return 1 ;; esac
    case $(tar --create --acls --no-recursion --absolute-names --file=- -- "$1" 2>/dev/null | tr -d '\0') in
        *SCHILY.acl.default=[a-z]*) return 0 ;;
        *SCHILY.acl.access=*) return 1 ;;
    esac
}

# require_root_only PATH WHAT: refuse a path on which somebody else can put a link in root's way.
require_root_only() {
    find_foreign "$1"
    [ -n "$foreign" ] || return 0
    ! gives_away "$foreign" ||
        fail not-roots "$2 is to be in $1, and others than root may change what is made in $foreign: it has an access list for that; run there, with the package acl: setfacl --remove-default $foreign"
    # A folder that is none of the application's may be so for good reason.
    case $foreign/ in
        "${home:-//}"/*) foreign_mend="run there: chown root: $foreign && chmod go-w $foreign" ;;
        *) foreign_mend="choose a place whose folders are root's alone, such as one below /srv or /opt" ;;
    esac
    fail not-roots "$2 is to be in $1, and others than root can change $foreign ($(stat -c '%U, %A' "$foreign")); $foreign_mend"
}

# are_roots PATH...: whether all of these exist and nobody but root can change any part of the way to them; by one program.
# Links on the way, and access lists, are left to find_foreign. Sets roots_open: whether everybody can enter all of it.
are_roots() {
    roots_open=no
    roots_paths=$newline
    for roots_path in "$@"; do
        while [ -n "$roots_path" ]; do
            case $roots_paths in *"$newline$roots_path$newline"*) ;; *) roots_paths=$roots_paths$roots_path$newline ;; esac
            roots_path=${roots_path%/*}
        done
    done
    IFS=$newline
    set -f
    # shellcheck disable=SC2086
    set -- / $roots_paths
    set +f
    unset IFS
    roots_seen=$(ls -ldnUb -- "$@" 2>/dev/null) || return 1
    roots_open=yes
    while read -r roots_of _ roots_owner _; do
        case "$roots_owner ${roots_of%.}" in
            '0 drwxr-xr-x') ;;
            '0 d'????-??-?) roots_open=no ;;
            *)
                roots_open=no
                return 1
                ;;
        esac
    done <<END_OF_MODES
$roots_seen
END_OF_MODES
}

# require_roots PATH...: refuse folders of ours that somebody else than root can change, or put a link in place of.
require_roots() {
    ! are_roots "$@" || return 0
    for roots_path in "$@"; do require_root_only "$roots_path" 'what root runs'; done
}
