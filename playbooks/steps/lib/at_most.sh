# shellcheck shell=sh
# What an application or a server sends has no end unless we set one: it would fill the disk, or our memory.

# limit_files KB: no file that this shell and its programs write grows beyond that; for a shell that ends after it. A program
# sees a write that fails: curl ends with status 23.
limit_files() {
    trap '' XFSZ
    # In blocks of 512 bytes.
    ulimit -f $(($1 * 2))
}

# at_most KB PROGRAM ARGUMENT...: the same for one program.
at_most() {
    (
        limit_files "$1"
        shift
        exec "$@"
    )
}

# is_cut FILE KB: whether a file came to that limit.
is_cut() { [ -f "$1" ] && [ "$(stat -c %s "$1")" -ge $(($2 * 1024)) ]; }
