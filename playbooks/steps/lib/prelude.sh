# shellcheck shell=sh disable=SC2034
# Read before every step's script: how a step answers, and how it fails. See playbooks/fleet/script.py.
set -eu
umask 077
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
tab='	'
newline='
'
slipway_answer=
slipway_told=

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
    [ -z "$slipway_answer" ] || printf '%s\n' "$slipway_line" 2>/dev/null >>"$slipway_answer/out" || :
}

# note TEXT: for the person who watches.
note() {
    printf '%s\n' "$1" >&2 2>/dev/null || :
}

# fail CODE SENTENCE: end the step, saying why.
fail() {
    slipway_told=yes
    emit error "$1" "$2"
    exit 1
}

# private_folder [NAME]: print a new folder of root's alone. In /tmp other users make names first, and use up the room.
private_folder() {
    [ -d /run/slipway ] || mkdir -p /run/slipway
    mktemp -d "/run/slipway/${1:-tmp}.XXXXXX"
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

# put_line PATH TEXT: the same for one line, without a program that reads it.
put_line() {
    printf '%s\n' "$2" >"$1.new"
    sync "$1.new"
    mv -f "$1.new" "$1"
}

# keep_answer FOLDER: from now on what is emitted is kept there as well, for a controller that lost the connection.
keep_answer() {
    slipway_answer=$1
    mkdir -p "$slipway_answer"
    : >"$slipway_answer/out"
    # A step that is told to stop says how it ended; it is the part that does the work that the signal ends.
    trap : HUP INT TERM
}

# end_step STATUS: the last thing a step does whose answer is kept.
end_step() {
    printf '%s\n' "$1" >"$slipway_answer/status"
    exit "$1"
}

# stand_back NICENESS: what is served comes first. The redirection is ours: /proc/self is this shell, not one that began us.
stand_back() {
    read -r slipway_me _ </proc/self/stat
    renice -n "$1" -p "$slipway_me" >/dev/null 2>&1 || :
}

# fence STATE TOKEN: refuse to act for a task that holds the lock no more, be it that it slept, or that it lost the host.
fence() {
    slipway_token=0
    [ ! -s "$1/token" ] || read -r slipway_token <"$1/token" || :
    [ "$slipway_token" = "$2" ] ||
        fail fenced 'this task may not act here any more: another one took the lock, or the host went back by itself'
    ! flock --shared --nonblock "$1/lock" true 2>/dev/null || fail fenced 'this task may not act here any more: it lost the lock'
}
