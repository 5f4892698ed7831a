# shellcheck shell=sh disable=SC2154
# Work in a folder that the application's user can change is done as that user, so that a link in the way leads to nothing that
# the user could not reach by itself.

# as_user USER COMMAND...: run a command as a user who has no privilege and no way to get one (PR_SET_NO_NEW_PRIVS: no setuid
# program helps), in a clean environment. The command inherits no open files but the three standard streams: other processes of
# the user can control it (ptrace(2)), and would hold this step's locks or write its answers. Its output is as hostile as the
# user.
as_user() (
    as_user_name=$1
    shift
    exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    exec setpriv --reuid="$as_user_name" --regid="$(id -g "$as_user_name")" --init-groups --no-new-privs --inh-caps=-all \
        env -i PATH="$settings_path" LC_ALL="$LC_ALL" HOME=/nonexistent "$@"
)

# as_user_for SECONDS USER COMMAND...: the same with a time limit, which root enforces. The user can stop or kill all of its own
# processes, and can keep a pipe open that one of them had. So whoever reads such a pipe needs a limit as well.
as_user_for() (
    as_user_limit=$1
    as_user_name=$2
    shift 2
    exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    exec timeout --kill-after=5 "$as_user_limit" \
        setpriv --reuid="$as_user_name" --regid="$(id -g "$as_user_name")" --init-groups --no-new-privs --inh-caps=-all \
        env -i PATH="$settings_path" LC_ALL="$LC_ALL" HOME=/nonexistent "$@"
)
