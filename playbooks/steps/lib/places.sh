# shellcheck shell=sh disable=SC2154
# Put configuration, shared folders and writable paths into a release that is being staged. Needs home, release, meta, user,
# group, base, root ("-" unless the release is staged for a drill, which has its own shared folders) and tree, the folder of the
# release's files, which only root can reach yet.

# require_place PATH: refuse a path in the tree whose folder is outside of it, because there is a link on the way: of the
# artifact's, of a hook's, or to a shared folder. Nobody changes the tree meanwhile, so the result stays true.
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

# clear_place PATH: remove what is at a path, and make the folder around it.
clear_place() {
    require_place "$1"
    [ -d "${1%/*}" ] || mkdir -p "${1%/*}"
    if [ -e "$1" ] || [ -L "$1" ]; then rm -rf "$1"; fi
}

# place_config: configuration replaces the artifact's own files, because the inventory decides.
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
        [ "$root" != - ] || make_shared "$name"
        clear_place "$tree/$name"
        ln -s "$home/shared/$name" "$tree/$name"
    done <"$meta/shared"
}

# make_shared NAME: make the user's own folder in $home/shared. Only root can change $home/shared and the folders between, so
# nobody can put a link on the way, or remove the folder while root works on it by name. A link that is there is root's, and its
# target stays as it is. Below a folder that the user can change, the rest is made as that user.
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
                # An earlier version made it under its own umask.
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
    # Change nothing that is right already, because a new ctime of the folder would look like a change of what is in it.
    case $(stat -c '%a %u %g' "$shared_at") in
        "750 $owner $group") ;;
        *) chmod 0750 "$shared_at" && chown -h "$user:$group" "$shared_at" ;;
    esac
}

# tell_useless LINK: report a link in the place of a shared folder that leads to nothing, or to where the user cannot write.
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
    # The command prints nothing, because a reader of what the user's processes write has to wait for as long as they like.
    # shellcheck disable=SC2016
    as_user_for 30 "$user" sh -euc 'umask 022; mkdir -p -- "$1"; cd -- "$1"; chmod 0750 .' shared "$home/shared/$1" \
        >/dev/null 2>&1 </dev/null ||
        fail unwritable "$user cannot make the folder $home/shared/$1; what is in its way? ls -ld $home/shared/$1"
}

# make_writable: make the writable folders before the release gets its owners and modes, because the folders between must be
# open to the user's group.
make_writable() {
    while IFS= read -r name; do
        require_place "$tree/$name"
        [ -e "$tree/$name" ] || [ -L "$tree/$name" ] || mkdir -p "$tree/$name"
    done <"$meta/writable"
}

# give_writable: give the writable paths to the user. If a file there had another name outside, by a hard link of the artifact's
# or a hook's, the user could change the file there, too, so it is refused.
give_writable() {
    while IFS= read -r name; do
        outside=
        if [ -L "$tree/$name" ]; then
            note "$name of slipway_writable is a link; what it leads to is left as it is"
            continue
        fi
        # Without hooks, every kind of link has been counted already.
        if [ "$hooks" = yes ] || [ "$archive_links" != 0 ]; then
            # Only numbers are counted, because a name may have a line break and any number in it.
            outside=$(find "$tree/$name" -type f -links +1 -printf '%i %n\n' | awk '
                { seen[$1]++; all[$1] = $2 }
                END { for (i in seen) if (seen[i] < all[i]) { print i; exit } }')
            [ -z "$outside" ] || outside=/$(find "$tree/$name" -inum "$outside" -printf '%P' -quit)
        fi
        outside=${outside%/}
        # The other name may be in BASE, from which the file was reused.
        [ -z "$outside" ] || [ "$base" = - ] || fail no-base "$name$outside of release $base cannot be reused: the application's user owns it in this one"
        [ -z "$outside" ] ||
            fail hostile-link "$name$outside is a hard link to a file outside of slipway_writable's $name: $user could change that, too"
        chown -Rh "$user:$group" "$tree/$name"
    done <"$meta/writable"
}
