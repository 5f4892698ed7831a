# shellcheck shell=sh disable=SC2034,SC2154
# Running the application's own migration tool in a release, as a hook of the application's user runs (hooks.sh), with its
# environment. Needs app, the application's name, and a private folder $scratch.

# run_tool RELEASE USER WHAT SECONDS: run the command in $scratch/command.WHAT. Sets tool_status, and leaves the end of its output in
# $scratch/said. $scratch/own and $scratch/given have its variables, as in files of EnvironmentFile=.
run_tool() {
    tool_what=$3
    tool_limit=$4
    find_tool_step
    # The tool gets the step's priority, because requests come first. systemd has the time limit, too: the user could stop one
    # that runs as the user.
    set -- --unit="slipway-$app-tool-$$-$3" --property=Type=oneshot --property=WorkingDirectory="$1" --property=UMask=0077 \
        --property=TasksMax=infinity --property=TimeoutStopSec=10 --property=Nice="$(nice)" --property=User="$2" \
        --property=NoNewPrivileges=yes --property=CapabilityBoundingSet= --property=PrivateTmp=yes \
        --property=TimeoutStartSec="$((tool_limit + 20))" --setenv=PATH="$settings_path" --setenv=HOME=/tmp --setenv=TMPDIR=/tmp --setenv=LC_ALL="$LC_ALL" \
        --setenv=NO_COLOR=1 --setenv=RELEASE="$1" --setenv=SLIPWAY_MIGRATION="$3" --property=EnvironmentFile="$scratch/own" \
        --property=EnvironmentFile="$scratch/given"
    [ -z "$tool_step" ] || set -- "$@" --property=BindsTo="$tool_step" --property=After="$tool_step"
    # Only the end of its output is kept. The tool may pass its output to other processes, which keep it open, so the reader has
    # a time limit, and the status comes another way.
    rm -f "$scratch/pipe"
    mkfifo "$scratch/pipe"
    timeout 86400 tail -c 65536 <"$scratch/pipe" >"$scratch/raw" 2>/dev/null &
    tool_reader=$!
    tool_status=0
    # systemd replaces $NAME in a command's words, so the shell's own are doubled.
    # shellcheck disable=SC2016
    systemd-run --quiet --pipe --wait --collect "$@" -- /bin/sh -c \
        'command=$$(cat) && export PGOPTIONS="$$SLIPWAY_LIMITS $$PGOPTIONS" && exec timeout --kill-after=10 "$0" sh -c "$$command" </dev/null' "$tool_limit" \
        <"$scratch/command.$tool_what" >"$scratch/pipe" 2>&1 || tool_status=$?
    tool_waits=0
    while [ "$tool_waits" -lt 30 ] && kill -0 "$tool_reader" 2>/dev/null; do
        tool_waits=$((tool_waits + 1))
        sleep 0.1
    done
    kill "$tool_reader" 2>/dev/null || :
    wait "$tool_reader" 2>/dev/null || :
    tr -d '\000\r' <"$scratch/raw" | sed '/^[[:space:]]*$/d' | tail -n 1000 >"$scratch/said"
}

# find_tool_step: set tool_step to the systemd unit that this step runs in.
find_tool_step() {
    tool_step=
    while IFS= read -r line; do
        case $line in *.service) tool_step=${line##*/} ;; esac
    done </proc/self/cgroup
}

# tool_ended: print how the tool ended, for a sentence.
tool_ended() {
    case $tool_status in
        124) printf 'did not end within %s s' "$tool_limit" ;;
        127) printf 'was not found, or a program that it calls (status 127)' ;;
        226) printf 'could not begin: this host has no mount namespaces for it' ;;
        255) printf 'was killed with its unit, or ended with status 255' ;;
        129 | 1[3-9]? | 2??) printf 'was killed by signal %s' "$((tool_status - 128))" ;;
        *) printf 'ended with status %s' "$tool_status" ;;
    esac
}
