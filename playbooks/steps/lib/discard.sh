# shellcheck shell=sh
# discard PATH: remove a folder in which the application's user can write, inside a folder that only root can change. rm works
# by file descriptors and follows no link (openat(2), O_NOFOLLOW), so a user who renames folders meanwhile can lose only files
# of its own. If the user makes files as fast as they are removed, the rest stays under an unused name, and the next discard in
# that folder removes it.
discard() {
    discard_rest=${1%/*}/.incoming.gone
    case $1 in
        "$discard_rest".*) ;;
        *) if [ -d "$1" ] && [ ! -L "$1" ]; then mv -T "$1" "$discard_rest.$$.${1##*/}"; else rm -f "$1"; fi ;;
    esac
    for discard_left in "$discard_rest".*; do
        [ -e "$discard_left" ] || continue
        timeout --kill-after=5 60 rm -rf "$discard_left" 2>/dev/null ||
            note "$discard_left is not completely removed: it is large, or somebody still writes there; the next deploy removes the rest"
    done
}
