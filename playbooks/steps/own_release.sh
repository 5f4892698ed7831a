# shellcheck shell=sh
# is_own_release FOLDER: whether Slipway made a folder in releases. A copy, or one that was renamed, has another one's name in
# its release.json. One that is not staged yet has none, and a damaged one may name none.
is_own_release() {
    [ -d "$1/.slipway" ] && [ ! -L "$1" ] || return 1
    own_about=
    [ ! -f "$1/.slipway/release.json" ] || read -r own_about <"$1/.slipway/release.json" || :
    case $own_about in
        *'"release"'*)
            own_about=${own_about#*'"release"'*\"}
            [ "${own_about%%\"*}" = "${1##*/}" ]
            ;;
    esac
}
