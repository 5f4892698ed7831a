# shellcheck shell=sh
# Links are not in a manifest's sums; one that was bent leads to other files that may well be right.

# include as_patterns.sh

# compare_links RELEASE: prints the difference between its links and those that were staged. What is in writable paths is the
# application's own affair.
compare_links() (
    cd "$1" || exit 1
    [ -f .slipway/links ] || exit 0
    set -- . -path ./.slipway -prune -o
    list=.slipway/writable
    [ -f "$list" ] || list=/dev/null
    while IFS= read -r writable; do set -- "$@" -path "./$writable" -prune -o; done <<END
$(as_patterns "$list")
END
    find "$@" -type l -printf '%p -> %l\n' | sort | diff - .slipway/links | awk '
        FILENAME == ARGV[1] { writable["./" $0 "/"]; next }
        # A path that was writable has no links of the release; a list that was made before this rule may name some.
        { for (w in writable) if (index(substr($0, 3, index($0 " -> ", " -> ") - 3) "/", w) == 1) next }
        /^[<>]/' "$list" -
)
