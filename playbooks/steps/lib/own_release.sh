# shellcheck shell=sh
# is_own_release FOLDER: whether Slipway made a folder in releases. A copy, or one that was renamed, has another one's name in
# its release.json. One that is not staged yet has none, and a damaged one may name none. What is somebody else's, such as a
# folder of another tool's that is the application's user's, is not even looked into: its owner may have put a FIFO there.
is_own_release() {
    [ ! -L "$1" ] && [ -O "$1" ] && [ ! -L "$1/.slipway" ] && [ -d "$1/.slipway" ] && [ -O "$1/.slipway" ] || return 1
    own_about=
    [ ! -f "$1/.slipway/release.json" ] || read -r own_about <"$1/.slipway/release.json" || :
    case $own_about in
        *'"release"'*)
            own_about=${own_about#*'"release"'*\"}
            [ "${own_about%%\"*}" = "${1##*/}" ]
            ;;
    esac
}
