# shellcheck shell=sh disable=SC2034,SC2154
# Mounts for which a unit waits at boot. systemd follows no link in RequiresMountsFor=, so the targets of root's links are
# named, too.

# include root_only.sh

# add_mounts PATH: add the targets of root's links on the way to PATH to mounts, one in each line. It follows only a link that
# nobody but root can make or change: root's link in a folder that only root can change. After any other link, PATH is taken as
# it is written.
add_mounts() {
    mounts_at=
    mounts_rest=${1#/}/
    mounts_links=0
    while [ -n "$mounts_rest" ]; do
        mounts_part=${mounts_rest%%/*}
        mounts_rest=${mounts_rest#*/}
        case $mounts_part in
            '' | .) continue ;;
            ..) mounts_at=${mounts_at%/*} && continue ;;
        esac
        if [ -L "$mounts_at/$mounts_part" ] && mounts_follow; then continue; fi
        mounts_at=$mounts_at/$mounts_part
    done
    [ "$mounts_links" = 0 ] || add_mount "$mounts_at"
}

mounts_follow() {
    [ "$mounts_links" -lt 40 ] && [ "$(stat -c %u "$mounts_at/$mounts_part")" = 0 ] && are_roots "${mounts_at:-/}" || return 1
    # The link may itself be on the target of another link.
    [ "$mounts_links" = 0 ] || add_mount "$mounts_at/$mounts_part"
    mounts_links=$((mounts_links + 1))
    mounts_target=$(readlink "$mounts_at/$mounts_part")
    mounts_rest=${mounts_target#/}/$mounts_rest
    case $mounts_target in /*) mounts_at= ;; esac
}

# add_mount PATH: add it once. The root, and a path that cannot be in a line of a unit, are left out.
add_mount() {
    case $1 in
        '' | *[[:cntrl:]]*) return 0 ;;
        *[\\\"%]*) set -- "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g; s/%/%%/g')" ;;
    esac
    case $newline$mounts in
        *"${newline}RequiresMountsFor=\"$1\"$newline"*) ;;
        *) mounts="${mounts}RequiresMountsFor=\"$1\"$newline" ;;
    esac
}

# find_mounts PATH...: set mounts to lines for a unit's [Unit] with the targets of root's links on these paths; mostly to none.
find_mounts() {
    mounts=
    for mounts_path in "$@"; do add_mounts "$mounts_path"; done
}

# find_release_mounts RELEASE-FOLDER: the same for the paths that its units name: the application's folder and shared folders.
find_release_mounts() {
    find_mounts "$home" "$home/releases"
    [ -s "$1/.slipway/shared" ] || return 0
    while IFS= read -r mounts_path; do add_mounts "$home/shared/$mounts_path"; done <"$1/.slipway/shared"
}
