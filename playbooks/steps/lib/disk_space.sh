# shellcheck shell=sh disable=SC2034
# lacks_room FOLDER...: whether a file system is full or read-only. Sets said to a sentence and lacking to the step's code. Any
# command that writes can fail for that, often without a message, because the file for its messages is on the same disk.
lacks_room() {
    lacking=no-space
    for room_of in "$@"; do
        [ -d "$room_of" ] || continue
        # A read-only file system refuses root, too.
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

# last_words FOLDER...: for a step's EXIT trap, before it removes anything. If the step failed without a message and a disk is
# full, say so. Otherwise the programs' own messages stand.
last_words() {
    [ -n "$slipway_told" ] || ! lacks_room "$@" || emit error "$lacking" "$said"
}
