# shellcheck shell=sh
# data_print RELEASE PATH...: one number for all that can be seen of files without reading them. It changes when data does:
# a file's ctime cannot be set, only the clock. The release's own files change theirs when another release shares them;
# they are known by their checksums.
data_print() {
    {
        find "$1" -path '*/.slipway' -prune -o -printf '%P %y %s %T@ %m %U %G %l\0'
        if [ -s "$1/.slipway/writable" ]; then
            while IFS= read -r writable; do set -- "$@" "$1/$writable"; done <"$1/.slipway/writable"
        fi
        shift
        [ $# -eq 0 ] || find -H "$@" -printf '%p %y %s %T@ %C@ %i %m %U %G %l\0'
    } | sha256sum | cut -c1-64
}
