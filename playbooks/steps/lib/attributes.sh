# shellcheck shell=sh disable=SC2154
# What files of a release have beside their modes, where slipway_keep asks for it: file capabilities, access control lists and
# attributes of the user's kind. A line each: file, tab, attribute=0xVALUE, as getfattr(1) writes them. .slipway/attributes
# holds what was staged, and is in the manifest.

# include as_patterns.sh

# list_attributes FOLDER: prints what a release has, but for what is its user's own affair. Follows no link.
list_attributes() (
    cd "$1" || exit 1
    command -v getfattr >/dev/null || {
        echo 'getfattr is not installed'
        exit 0
    }
    set -- . -path ./.slipway -prune -o
    if [ -s .slipway/writable ]; then
        while IFS= read -r writable; do set -- "$@" -path "./$writable" -prune -o; done <<END
$(as_patterns .slipway/writable)
END
    fi
    # Of what the host itself may put on files (labels, for one) nothing is an artifact's.
    find "$@" ! -type l -print0 |
        xargs -0 -r getfattr --no-dereference --absolute-names --dump --encoding=hex \
            --match='^(security\.capability|system\.posix_acl_(access|default)|user\.)' -- | awk '
        /^# file: / { file = substr($0, 9); next }
        $0 != "" { print file "\t" $0 }' | sort
)

# compare_attributes RELEASE: prints the difference between what it has and what was staged.
compare_attributes() {
    [ -f "$1/.slipway/attributes" ] || return 0
    list_attributes "$1" | diff - "$1/.slipway/attributes" | grep '^[<>]' || :
}
