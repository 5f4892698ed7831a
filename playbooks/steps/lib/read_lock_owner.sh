# shellcheck shell=sh disable=SC2034,SC2154
# read_holder: set holder and token, of whoever holds the application's lock here; where nobody does, say so and end. Needs
# state.
read_holder() {
    if [ ! -s "$state/lock" ] || flock --shared --nonblock "$state/lock" true; then
        emit free
        exit 0
    fi
    holder=
    token=
    { IFS= read -r holder && read -r _ && read -r token _; } <"$state/lock" || :
}
