# shellcheck shell=sh disable=SC2154
# What steps that run hooks share; it needs $home.
#
# run_hooks RELEASE MOMENT USER FIRST: run the user's commands of a moment, in the release, as they ask.
# A hook's first line is "<app|root> <once|every> <seconds> <name>"; the rest is what sh reads.
run_hooks() {
    # What a hook that was killed with its step has left; only one deploy at a time runs hooks of this application.
    hook_places=slipway-hook.${home##*/}.
    rm -rf "${TMPDIR:-/tmp}/$hook_places"*
    for hook in "$1/.slipway/hooks/$2"/*; do
        [ -f "$hook" ] || continue
        read -r as every limit name <"$hook"
        if [ "$every" = once ] && [ "$4" != first ]; then continue; fi
        note "hook: $name"
        account=$3
        [ "$as" = app ] || account=root
        # /tmp and HOME are the hook's own, and gone with it: pip and npm insist on writing there.
        scratch_hook=$(mktemp -d "${TMPDIR:-/tmp}/${hook_places}XXXXXX")
        # Ours, so that nobody puts a link where the log goes; the account's folder is in it.
        chmod 0711 "$scratch_hook"
        private=$scratch_hook/home
        hook_log=$scratch_hook/log
        mkdir "$private"
        chown "$account" "$private"
        status=0
        (
            cd "$1" &&
                tail -n +2 "$hook" | exec setpriv --reuid="$account" --regid="$(id -g "$account")" --init-groups \
                    env -i PATH="$PATH" LC_ALL="$LC_ALL" HOME="$private" TMPDIR="$private" \
                    RELEASE="$1" SLIPWAY_HOOK="$2" timeout --kill-after=10 "$limit" sh -s
        ) >"$hook_log" 2>&1 || status=$?
        if [ "$status" -ne 0 ]; then
            said=$(tail -n 8 "$hook_log" | tr '\n\t' '  ' | cut -c1-800)
            rm -rf "$scratch_hook"
            [ "$status" -ne 124 ] || fail hook "hook '$name' ($2) did not end within $limit s: $said"
            # The shell's and timeout(1)'s way to say that a signal ended it.
            [ "$status" -le 128 ] || fail hook "hook '$name' ($2) was killed by signal $((status - 128)): $said"
            fail hook "hook '$name' ($2) ended with status $status: $said"
        fi
        rm -rf "$scratch_hook"
    done
}
