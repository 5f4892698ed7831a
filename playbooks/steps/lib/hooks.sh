# shellcheck shell=sh disable=SC2034,SC2154
# Shared by steps that run hooks. Needs app, the application's name, and home, its folder.
# include discard.sh
# include output.sh
#
# run_hooks RELEASE MOMENT USER WHICH [TREE]: run the user's commands of a moment in the release, as the settings ask. WHICH
# "first" runs all of them, "-" those that every host runs, "once" those that one host runs for all. With a TREE, the release is
# still being made there by USER (see build.sh), and hooks see it at its future path.
# A hook's first line is "<app|root> <once|every> <seconds> <name>"; sh reads the rest.
run_hooks() {
    # Remove the folder of a hook that was killed with its step. Only one deploy at a time runs hooks of this application.
    hook_places=$home/.hooks
    discard "$hook_places"
    find_hook_step
    for hook in "$1/.slipway/hooks/$2"/*; do
        [ -f "$hook" ] || continue
        read -r hook_as hook_every hook_limit hook_name <"$hook"
        case $hook_every/$4 in once/- | every/once) continue ;; esac
        note "hook: $hook_name"
        run_hook "$@"
    done
}

# give_tree USER TREE: give everything in it to the build user, also what a hook of root's or Slipway has made. chown works by
# descriptors and follows no link (-R -h). No file in it has a name elsewhere, because for those who can write to it the tree is
# another mount.
give_tree() { chown -Rh "$1:" "$2"; }

# find_hook_step: set hook_step to the systemd unit that this step runs in.
find_hook_step() {
    hook_step=
    while IFS= read -r line; do
        case $line in *.service) hook_step=${line##*/} ;; esac
    done </proc/self/cgroup
}

# run_hook: run a hook in a unit of its own, so that it inherits nothing from this step, and that it and everything it leaves
# running end with the unit. The unit is a oneshot, because for these systemd counts no signal as a success.
run_hook() {
    hook_at=$1
    hook_moment=$2
    hook_account=$3
    hook_builder=$3
    hook_tree=${5:-}
    # The hook gets the step's priority, because requests come first.
    set -- --unit="slipway-$app-hook-$$" --property=Type=oneshot --property=WorkingDirectory="$hook_at" \
        --property=UMask=0077 --property=TasksMax=infinity --property=TimeoutStopSec=10 --property=Nice="$(nice)"
    [ -z "$hook_step" ] || set -- "$@" --property=BindsTo="$hook_step" --property=After="$hook_step"
    [ -z "$hook_tree" ] || set -- "$@" --property=BindPaths="$hook_tree:$hook_at"
    # The user could stop a time limit that runs as the user, so systemd has the limit, too.
    case $hook_limit in *[!0-9.]*) ;; *) set -- "$@" --property=TimeoutStartSec="$((${hook_limit%%.*} + 20))" ;; esac
    hook_private=/tmp
    hook_scratch=
    if [ "$hook_as" = app ] && [ -n "$hook_tree" ]; then
        set -- "$@" --property=User="$hook_account" --property=NoNewPrivileges=yes --property=CapabilityBoundingSet= \
            --property=PrivateTmp=yes --property=ProtectSystem=strict --property=ReadWritePaths="$hook_at" \
            --property=RemoveIPC=yes --property=KillSignal=SIGKILL
    else
        if [ "$hook_as" = app ]; then
            set -- "$@" --property=User="$hook_account" --property=NoNewPrivileges=yes --property=CapabilityBoundingSet=
        else
            hook_account=root
        fi
        # HOME and TMPDIR are the hook's own and are removed with it, because pip and npm insist on writing there.
        # They are in a folder of root's, so that nobody else can make a name there.
        hook_scratch=$hook_places
        mkdir -m 0711 "$hook_scratch"
        hook_private=$hook_scratch/home
        mkdir -m 0700 "$hook_private"
        chown "$hook_account" "$hook_private"
    fi
    # Only the end of its output is kept. The hook may pass its output to other processes, which keep it open, so the reader has
    # a time limit, and the status comes another way.
    hook_io=$(private_folder hook)
    mkfifo "$hook_io/said"
    timeout 86400 tail -c 8192 <"$hook_io/said" >"$hook_io/out" 2>/dev/null &
    hook_reader=$!
    hook_status=0
    # shellcheck disable=SC2016
    {
        tail -n +2 "$hook" | systemd-run --quiet --pipe --wait --collect "$@" -- /usr/bin/env -i PATH="$settings_path" LC_ALL="$LC_ALL" \
            HOME="$hook_private" TMPDIR="$hook_private" RELEASE="$hook_at" SLIPWAY_HOOK="$hook_moment" \
            sh -c 'timeout --kill-after=10 "$0" sh -s || exit $?' "$hook_limit"
    } >"$hook_io/said" 2>&1 || hook_status=$?
    hook_waits=0
    # The output of a hook that succeeded is not needed.
    while [ "$hook_status" -ne 0 ] && [ "$hook_waits" -lt 30 ] && kill -0 "$hook_reader" 2>/dev/null; do
        hook_waits=$((hook_waits + 1))
        sleep 0.1
    done
    kill "$hook_reader" 2>/dev/null || :
    wait "$hook_reader" 2>/dev/null || :
    said=$(tr -d '\000' <"$hook_io/out")
    rm -rf "$hook_io"
    [ -z "$hook_scratch" ] || discard "$hook_scratch"
    # Files that a hook of root's made are given to the build user, whose hooks may follow.
    if [ "$hook_as" != app ] && [ -n "$hook_tree" ]; then give_tree "$hook_builder" "$hook_tree"; fi
    [ "$hook_status" != 0 ] || return 0
    case $hook_status in
        124) hook_ended="did not end within $hook_limit s" ;;
        226) hook_ended='could not begin: this host has no mount namespaces for it' ;;
        255) hook_ended='was killed with its unit, or ended with status 255' ;;
        # The shell and timeout(1) report a signal by such a status.
        129 | 1[3-9]? | 2??) hook_ended="was killed by signal $((hook_status - 128))" ;;
        *) hook_ended="ended with status $hook_status" ;;
    esac
    fail_showing hook "hook '$hook_name' ($hook_moment) $hook_ended" "$said"
}
