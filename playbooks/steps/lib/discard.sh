# shellcheck shell=sh
# discard PATH: remove a folder in which the application's user can write, in a folder that is root's alone. rm goes down by
# descriptors and follows no link (openat(2), O_NOFOLLOW): renaming meanwhile, the user can lose what is its own, and nothing
# else. Who makes files as fast as they are removed keeps them a while: they have a name that is nobody's any more, and
# whoever discards something beside it next removes them.
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
