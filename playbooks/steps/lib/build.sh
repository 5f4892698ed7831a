# shellcheck shell=sh disable=SC2154
# The install hooks make a release, and run programs of the artifact. After the hooks, nothing that they started may still have
# access to the release, and no running program of the application may have any:
#
# - the hooks have a user of their own, who owns the tree and nothing else;
# - the tree is in a folder that only root can enter, and only the hooks see it, at the path of the future release;
# - each hook runs in a unit, and everything that it started ends with the unit (hooks.sh);
# - then the tree is copied. A descriptor that somebody kept belongs to the old tree, which is removed.
#
# Needs release, meta, group, build_user, first, incoming, hooks.sh, as_user.sh.

# include build_user.sh

# begin_build: set tree to the folder in which the artifact is unpacked.
begin_build() {
    tree=$incoming.build/tree
    mkdir -p "$tree"
    id "$build_user" >/dev/null 2>&1 || make_build_user "$build_user"
}

# end_build: run the hooks, then make the release from their result.
end_build() {
    build_uid=$(id -u "$build_user")
    give_tree "$build_user" "$tree"
    chmod -R u+rwX,go-w,-t "$tree"
    run_hooks "$release" install "$build_user" "$first" "$tree"
    require_nobody
    # The copy runs as that user, who can read nothing of root's. It uses open folders and no paths, so that nobody can
    # replace a folder on the way.
    mkdir "$incoming.build/fresh"
    chown "$build_user:" "$incoming.build/fresh"
    # shellcheck disable=SC2016
    said=$(cd "$tree" && as_user "$build_user" sh -euc '
        umask 077
        chmod -R u+rwX,go-w,u-s,g-s,-t .
        exec cp -a --no-preserve=ownership --reflink=auto . /proc/self/fd/0/' <"$incoming.build/fresh" 2>&1) ||
        explain_space 'copying the result of hooks' hook 'the result of the install hooks cannot be copied into the release' "$said"
    require_nobody
    tree=$incoming.build/fresh
    if [ -e "$tree/.slipway" ] || [ -L "$tree/.slipway" ]; then fail hook "a hook made .slipway in the release, a name that Slipway uses"; fi
    # Sockets and pipes that programs have left do not belong to a release.
    find "$tree" ! -type f ! -type d ! -type l -delete
    chown -Rh "root:$group" "$tree"
    mv "$meta" "$tree/.slipway"
    rmdir "$release"
    mv -T "$tree" "$release"
    tree=$release
    rm -rf "$incoming.build"
}

# require_nobody: end every process of the build user. One may have left its unit by a timer or a service of the user's. The
# owner of /proc/PID is no proof, because a process can hide it (PR_SET_DUMPABLE). A killed process takes a moment to end.
require_nobody() {
    build_tries=0
    while :; do
        # All at once (kill(2), -1), so that a chain of processes that fork and die cannot escape.
        # shellcheck disable=SC2016
        as_user_for 5 "$build_user" sh -c 'kill -KILL -1' >/dev/null 2>&1 </dev/null || :
        # grep's output counts and not its status, which is 2 if any process of the host ends meanwhile.
        lives=$(grep -lE "^Uid:(.*$tab)?$build_uid($tab|\$)" /proc/[0-9]*/status 2>/dev/null || :)
        [ -n "$lives" ] || break
        build_tries=$((build_tries + 1))
        [ "$build_tries" -le 50 ] ||
            fail hook "a process of $build_user goes on after the install hooks: $(printf '%s' "$lives" | tr '\n' ' ')"
        sleep 0.1
    done
}
