# shellcheck shell=sh disable=SC2034
# Standard input of a step that has more to say than words: lines "kind US field… US ." (US is \037), and "end" as the last one.

us=$(printf '\037')

# read_lines FUNCTION WHAT: call FUNCTION with the fields of each line. WHAT would be incomplete without the last line.
read_lines() {
    lines_function=$1
    lines_what=$2
    lines_whole=no
    while IFS= read -r lines_line; do
        set -f
        IFS=$us
        # shellcheck disable=SC2086
        set -- $lines_line
        unset IFS
        set +f
        if [ "$1" = end ]; then lines_whole=yes; else "$lines_function" "$@"; fi
    done
    [ "$lines_whole" = yes ] || fail cut "the instructions for this $lines_what did not arrive whole"
}
