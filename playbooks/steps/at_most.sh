# shellcheck shell=sh
# What an application or a server sends has no end unless we set one: it would fill the disk, or our memory.

# at_most KB PROGRAM ARGUMENT...: no file that the program writes grows beyond KB. The program sees a write that fails,
# for which curl ends with status 23.
at_most() {
    (
        trap '' XFSZ
        # In blocks of 512 bytes.
        ulimit -f $(($1 * 2))
        shift
        exec "$@"
    )
}

# is_cut FILE KB: whether a file came to that limit.
is_cut() { [ -f "$1" ] && [ "$(stat -c %s "$1")" -ge $(($2 * 1024)) ]; }
