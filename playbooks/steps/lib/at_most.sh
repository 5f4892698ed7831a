# shellcheck shell=sh
# An application or a server may send without end, and would fill the disk or the memory. These functions set a limit.

# limit_files KB: limit every file that this shell and its programs write; for a subshell that ends afterwards. A program gets a
# failed write: curl ends with status 23.
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

# is_cut FILE KB: whether a file has reached that limit.
is_cut() { [ -f "$1" ] && [ "$(stat -c %s "$1")" -ge $(($2 * 1024)) ]; }
