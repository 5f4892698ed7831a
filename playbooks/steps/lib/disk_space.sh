# shellcheck shell=sh disable=SC2034
# lacks_room FOLDER...: whether a file system is full or read-only; said tells which, lacking is a step's word for it. A full
# disk shows in any command that writes, often without a word, since what it would complain into is on that disk too.
lacks_room() {
    lacking=no-space
    for room_of in "$@"; do
        [ -d "$room_of" ] || continue
        # The read-only flag is no permission: root is refused too.
        if [ ! -w "$room_of" ]; then
            said="the file system of $room_of is read-only"
            return 0
        fi
        room_kb=$(df -Pk "$room_of" | awk 'NR == 2 { print $4 }')
        room_nodes=$(df -Pi "$room_of" | awk 'NR == 2 { print ($2 > 0 ? $4 : "-") }')
        if [ "$room_kb" -lt 256 ]; then
            said="the file system of $room_of is full"
            return 0
        fi
        if [ "$room_nodes" != - ] && [ "$room_nodes" -lt 4 ]; then
            said="the file system of $room_of has no inodes left"
            lacking=no-inodes
            return 0
        fi
    done
    return 1
}

# last_words FOLDER...: for a step's EXIT trap, before anything is removed: a step that ends badly without having said
# why is one whose tools could not write. Everything else is left to what they said.
last_words() {
    [ -n "$slipway_told" ] || ! lacks_room "$@" || emit error "$lacking" "$said"
}
