# shellcheck shell=sh disable=SC2154
# Where configuration, shared folders and writable paths lie in a release that is being staged. Needs home, release, meta,
# user, group, base, tree: the release's files, which nobody but root can reach yet.

# require_place PATH: refuse a place in the tree whose folder is somewhere else: a link of the artifact's, of a hook's, or to a
# shared folder is on the way. Nobody changes the tree meanwhile, so what is found stays true.
require_place() {
    place_at=$tree
    place_rest=${1#"$tree"/}
    while :; do
        case $place_rest in */*) ;; *) return 0 ;; esac
        place_at=$place_at/${place_rest%%/*}
        place_rest=${place_rest#*/}
        [ ! -L "$place_at" ] || break
    done
    place_real=$(cd -P "$place_at" 2>/dev/null && pwd) || place_real=$(readlink "$place_at")
    tree_real=$(cd -P "$tree" && pwd)
    case $place_real/ in
        "$tree_real"/*) require_place "$tree${place_real#"$tree_real"}/$place_rest" ;;
        *) fail hostile-link "${1#"$tree"/} would be outside of the release: a link on the way to it leads to $place_real" ;;
    esac
}

# clear_place PATH: nothing is there, and its folder is.
clear_place() {
    require_place "$1"
    [ -d "${1%/*}" ] || mkdir -p "${1%/*}"
    if [ -e "$1" ] || [ -L "$1" ]; then rm -rf "$1"; fi
}

# Configuration lies over the artifact's own files: what the inventory says counts.
place_config() {
    while IFS= read -r name; do
        clear_place "$tree/$name"
        mv "$meta/files/$name" "$tree/$name"
    done <"$meta/config"
    rm -rf "$meta/files"
}

place_shared() {
    [ -s "$meta/shared" ] || return 0
    owner=$(id -u "$user")
    while IFS= read -r name; do
        make_shared "$name"
        clear_place "$tree/$name"
        ln -s "$home/shared/$name" "$tree/$name"
    done <"$meta/shared"
}

# make_shared NAME: the user's own folder in $home/shared. That is root's alone, and so are the folders between, so nobody can
# put a link on the way or take the folder away while root works on it by name. A link that is there is root's, and what it
# leads to is left as it is. Below a folder that the user can change, the rest is made as that user.
make_shared() {
    shared_at=$home/shared
    shared_rest=$1
    while :; do
        shared_at=$shared_at/${shared_rest%%/*}
        case $shared_rest in
            */*) shared_rest=${shared_rest#*/} ;;
            *) break ;;
        esac
        if [ -L "$shared_at" ]; then
            find_foreign "$shared_at"
            if [ -n "$foreign" ]; then
                shared_as_user "$1"
                return 0
            fi
        elif [ ! -d "$shared_at" ]; then
            mkdir -m 0755 "$shared_at" || fail unwritable "cannot make $shared_at"
        else
            case $(stat -c '%u %a' "$shared_at") in
                '0 755') ;;
                # Left by a version that made it under its own umask.
                '0 700') chmod 0755 "$shared_at" ;;
                '0 '*[2367] | '0 '*[2367]? | [!0]*)
                    shared_as_user "$1"
                    return 0
                    ;;
            esac
        fi
    done
    if [ -L "$shared_at" ]; then
        tell_useless "$shared_at"
        return 0
    fi
    [ -d "$shared_at" ] || mkdir -m 0700 "$shared_at" || fail unwritable "cannot make $shared_at"
    # What is as it should be is left alone: a change of a folder's ctime would look like one of what is in it.
    case $(stat -c '%a %u %g' "$shared_at") in
        "750 $owner $group") ;;
        *) chmod 0750 "$shared_at" && chown -h "$user:$group" "$shared_at" ;;
    esac
}

# tell_useless LINK: say so where a link in the place of a shared folder leads to nothing, or where the user cannot write.
tell_useless() {
    if [ ! -e "$1" ]; then
        emit shared_gone "$1" "$(readlink -m "$1")"
    elif [ -d "$1" ]; then
        # shellcheck disable=SC2016
        as_user_for 30 "$user" sh -c '[ -w "$1" ] && [ -x "$1" ]' shared "$1" >/dev/null 2>&1 </dev/null ||
            emit shared_closed "$1" "$(readlink -m "$1")"
    fi
}

shared_as_user() {
    # It says nothing: whoever reads what the user's processes write waits for as long as they like.
    # shellcheck disable=SC2016
    as_user_for 30 "$user" sh -euc 'umask 022; mkdir -p -- "$1"; cd -- "$1"; chmod 0750 .' shared "$home/shared/$1" \
        >/dev/null 2>&1 </dev/null ||
        fail unwritable "$user cannot make the folder $home/shared/$1; what is in its way? ls -ld $home/shared/$1"
}

# make_writable, before the release has its owners and modes: the folders between must be open to the user's group.
make_writable() {
    while IFS= read -r name; do
        require_place "$tree/$name"
        [ -e "$tree/$name" ] || [ -L "$tree/$name" ] || mkdir -p "$tree/$name"
    done <"$meta/writable"
}

# give_writable: these are the user's own. A file there that has another name outside would be the user's there, too: a hard
# link of the artifact, or of a hook.
give_writable() {
    while IFS= read -r name; do
        outside=
        if [ -L "$tree/$name" ]; then
            note "$name of slipway_writable is a link; what it leads to is left as it is"
            continue
        fi
        # Without hooks, what is a link of any kind has been counted.
        if [ "$hooks" = yes ] || [ "$archive_links" != 0 ]; then
            # Numbers alone are counted: a name may have a line break, and any number, in it.
            outside=$(find "$tree/$name" -type f -links +1 -printf '%i %n\n' | awk '
                { seen[$1]++; all[$1] = $2 }
                END { for (i in seen) if (seen[i] < all[i]) { print i; exit } }')
            [ -z "$outside" ] || outside=/$(find "$tree/$name" -inum "$outside" -printf '%P' -quit)
        fi
        outside=${outside%/}
        # A link may lead to what was taken over from the release before, which has it, too.
        [ -z "$outside" ] || [ "$base" = - ] || fail no-base "$name$outside of release $base cannot be reused: the application's user owns it in this one"
        [ -z "$outside" ] ||
            fail hostile-link "$name$outside is a hard link to a file outside of slipway_writable's $name: $user could change that, too"
        chown -Rh "$user:$group" "$tree/$name"
    done <"$meta/writable"
}
