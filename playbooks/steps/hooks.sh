# shellcheck shell=sh
# run_hooks RELEASE MOMENT USER FIRST: run the user's commands of a moment, in the release, as they ask.
# A hook's first line is "<app|root> <once|every> <seconds> <name>"; the rest is what sh reads.
run_hooks() {
    for hook in "$1/.slipway/hooks/$2"/*; do
        [ -f "$hook" ] || continue
        read -r as every limit name <"$hook"
        if [ "$every" = once ] && [ "$4" != first ]; then continue; fi
        note "hook: $name"
        account=$3
        [ "$as" = app ] || account=root
        # /tmp and HOME are the hook's own, and gone with it: pip and npm insist on writing there.
        private=$(mktemp -d "${TMPDIR:-/tmp}/slipway-hook.XXXXXX")
        chown "$account" "$private"
        status=0
        (
            cd "$1" &&
                tail -n +2 "$hook" | exec setpriv --reuid="$account" --regid="$(id -g "$account")" --init-groups \
                    env -i PATH="$PATH" LC_ALL="$LC_ALL" HOME="$private" TMPDIR="$private" \
                    RELEASE="$1" SLIPWAY_HOOK="$2" timeout --kill-after=10 "$limit" sh -s
        ) >"$private.log" 2>&1 || status=$?
        rm -rf "$private"
        if [ "$status" -ne 0 ]; then
            said=$(tail -n 8 "$private.log" | tr '\n\t' '  ' | cut -c1-800)
            rm -f "$private.log"
            [ "$status" -ne 124 ] || fail hook "hook '$name' ($2) did not end within $limit s: $said"
            fail hook "hook '$name' ($2) ended with status $status: $said"
        fi
        rm -f "$private.log"
    done
}
