# shellcheck shell=sh disable=SC2034
# Read before every step's script: how a step answers, and how it fails. See playbooks/fleet/script.py.
set -eu
umask 077
# What is below /usr/local may be somebody's: nothing there is run but where require_programs has looked (programs.sh), and for
# what the settings run.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
settings_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
tab='	'
newline='
'
slipway_answer=
slipway_told=

# emit TAG FIELD...: write one record of the answer. A write that fails does not end the step, which goes on without a listener.
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

# note TEXT: show TEXT to the person who watches.
note() {
    printf '%s\n' "$1" >&2 2>/dev/null || :
}

# fail CODE SENTENCE: end the step, saying why.
fail() {
    slipway_told=yes
    emit error "$1" "$2"
    exit 1
}

# private_folder [NAME]: make a folder that only root can enter, and print it. Not in /tmp, where other users could take the
# name or use up the space.
private_folder() {
    [ -d /run/slipway ] || mkdir -p /run/slipway
    mktemp -d "/run/slipway/${1:-tmp}.XXXXXX"
}

# need TOOL...: fail if one of these programs is not installed.
need() {
    for slipway_tool in "$@"; do
        command -v "$slipway_tool" >/dev/null ||
            fail missing-tool "$slipway_tool is not installed; run: invoke provision --env=…"
    done
}

# replace_file PATH: write standard input to a new file and rename it to PATH, so nobody reads half a file. It is on disk
# before the rename.
replace_file() {
    cat >"$1.new"
    sync "$1.new"
    mv -f "$1.new" "$1"
}

# put_line PATH TEXT: the same for one line, without starting cat.
put_line() {
    printf '%s\n' "$2" >"$1.new"
    sync "$1.new"
    mv -f "$1.new" "$1"
}

# keep_answer FOLDER: also keep there what is emitted from now on, for a controller that lost the connection.
keep_answer() {
    slipway_answer=$1
    mkdir -p "$slipway_answer"
    : >"$slipway_answer/out"
    # A signal ends the subshell that does the work, and not this shell, which then stores the status.
    trap : HUP INT TERM
}

# end_step STATUS: store the status and exit; used by steps whose answer is kept.
end_step() {
    printf '%s\n' "$1" >"$slipway_answer/status"
    exit "$1"
}

# stand_back NICENESS: lower this step's priority, because requests come first. The redirection is done by this shell, so
# /proc/self is its own.
stand_back() {
    read -r slipway_me _ </proc/self/stat
    renice -n "$1" -p "$slipway_me" >/dev/null 2>&1 || :
}

# fence STATE TOKEN: fail if the task does not hold the lock any more, because it slept or lost the host.
fence() {
    slipway_token=0
    [ ! -s "$1/token" ] || read -r slipway_token <"$1/token" || :
    [ "$slipway_token" = "$2" ] ||
        fail fenced 'this task may not act here any more: another one took the lock, or the host went back by itself'
    ! flock --shared --nonblock "$1/lock" true 2>/dev/null || fail fenced 'this task may not act here any more: it lost the lock'
}
