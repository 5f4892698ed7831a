# shellcheck shell=sh
# Read before every step's script: how a step answers, and how it fails. See playbooks/fleet/script.py.
set -eu
umask 077
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
tab='	'
newline='
'

# emit TAG FIELD...: one record of the answer. Writing must never end a step: it runs on when nobody listens any more.
emit() {
    slipway_line=$1
    shift
    for slipway_field in "$@"; do
        case $slipway_field in
            *"$tab"* | *"$newline"*) slipway_field=$(printf '%s' "$slipway_field" | tr '\t\n' '  ') ;;
        esac
        slipway_line=$slipway_line$tab$slipway_field
    done
    printf '%s\n' "$slipway_line" 2>/dev/null || :
}

# note TEXT: for the person who watches.
note() {
    printf '%s\n' "$1" >&2 2>/dev/null || :
}

# fail CODE SENTENCE: end the step, saying why.
fail() {
    emit error "$1" "$2"
    exit 1
}

# need TOOL...: the programs a step cannot do without.
need() {
    for slipway_tool in "$@"; do
        command -v "$slipway_tool" >/dev/null ||
            fail missing-tool "$slipway_tool is not installed; run: invoke provision --env=…"
    done
}

# replace_file PATH: put standard input there by one rename, on disk before it is seen. Nobody reads half a file.
replace_file() {
    cat >"$1.new"
    sync "$1.new"
    mv -f "$1.new" "$1"
}
