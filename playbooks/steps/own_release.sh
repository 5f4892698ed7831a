# shellcheck shell=sh
# is_own_release FOLDER: whether Slipway made a folder in releases. A copy, or one that was renamed, has another one's name in
# its release.json; one that is not staged yet has none.
is_own_release() {
    [ -d "$1/.slipway" ] && [ ! -L "$1" ] || return 1
    [ -f "$1/.slipway/release.json" ] || return 0
    own_about=
    read -r own_about <"$1/.slipway/release.json" || :
    case $own_about in
        *"\"release\": \"${1##*/}\""*) return 0 ;;
        *) return 1 ;;
    esac
}
