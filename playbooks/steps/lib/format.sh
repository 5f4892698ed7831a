# shellcheck shell=sh disable=SC2034
# The format of what is on a host; see playbooks/core/state_format.py.

# require_format STATE FORMAT: fail if the state's format is newer than FORMAT. Sets had_format to its number, or to nothing if
# there is no state.
require_format() {
    had_format=
    [ ! -s "$1/format" ] || read -r had_format <"$1/format" || :
    case $had_format in
        '') ;;
        *[!0-9]* | ??????*) fail newer-format "$1/format is not a number of this Slipway's; nothing was touched" ;;
        *)
            [ "$had_format" -le "$2" ] ||
                fail newer-format "a newer Slipway was here: it left format $had_format in $1, and this one knows format $2; nothing was touched"
            ;;
    esac
}
