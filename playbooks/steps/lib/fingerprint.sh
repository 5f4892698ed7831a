# shellcheck shell=sh
# One number for all that can be seen of files without reading them.
#
# find goes down a tree from folder to folder, never through a link (fts(3), O_NOFOLLOW), and opens no file. Who flips links on
# the way to a folder of data shows it another folder of the host at most, of which nothing leaves here but a part of the sum.

look_seconds=120

# include as_patterns.sh
# include attributes.sh

# release_looks RELEASE: a record for each file, link and folder of a release that is not the application's own to write, each
# ended by NUL. Not with a ctime: that changes when another release shares the file, or is removed. And only root could set
# back a mtime.
release_looks() {
    set -- "$1" -path "$1/.slipway" -prune -o
    if [ -s "$1/.slipway/writable" ]; then
        # A release's own path is no pattern.
        while IFS= read -r writable; do set -- "$@" -path "$1/$writable" -prune -o; done <<END
$(as_patterns "$1/.slipway/writable")
END
    fi
    timeout --kill-after=5 "$look_seconds" find "$@" -printf '%P %y %s %T@ %i %m %U %G %l\0' ||
        [ $? -lt 124 ] || cat /proc/sys/kernel/random/uuid
}

# release_print RELEASE: changes when somebody touches one of these, or what slipway_keep keeps beside them.
release_print() {
    {
        release_looks "$1"
        [ ! -f "$1/.slipway/attributes" ] || list_attributes "$1"
    } | sha256sum | cut -c1-64
}

# keep_print RELEASE: a release is whole now: keep its print, and what each file looks like, to tell later which was changed.
keep_print() {
    release_looks "$1" >"$1/.slipway/looks"
    release_print "$1" >"$1/.slipway/print"
}

# fingerprint RELEASE PATH...: changes when the release does, or data: of those a ctime counts, which nobody can set.
fingerprint() {
    {
        release_print "$1"
        if [ -s "$1/.slipway/writable" ]; then
            while IFS= read -r writable; do
                # A link there is its user's, and would be followed.
                [ -L "$1/$writable" ] || set -- "$@" "$1/$writable"
            done <"$1/.slipway/writable"
        fi
        shift
        # Whoever moves folders ahead of find keeps it walking for good. What did not end is like nothing else.
        [ $# -eq 0 ] || timeout --kill-after=5 "$look_seconds" find -H "$@" -printf '%p %y %s %T@ %C@ %i %m %U %G %l\0' ||
            [ $? -lt 124 ] || cat /proc/sys/kernel/random/uuid
    } | sha256sum | cut -c1-64
}

# is_untouched RELEASE: whether its files are still what its manifest says.
is_untouched() {
    [ -s "$1/.slipway/print" ] && read -r was <"$1/.slipway/print" && [ "$(release_print "$1")" = "$was" ]
}
