# shellcheck shell=sh
# What becomes part of a path, or one of restic's tags, is held against its pattern on the host that uses it, too, wherever
# it comes from: the controller, or a repository that others can write. playbooks/core/names.py has the same patterns.

# is_stamped TEXT: a time, or a time, a dash and a version.
is_stamped() {
    case $1 in
        *[!A-Za-z0-9._+-]*) return 1 ;;
        [0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z) ;;
        [0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z-[A-Za-z0-9]*) ;;
        *) return 1 ;;
    esac
    [ "${#1}" -le 81 ]
}

# require_stamped KIND TEXT: end the step unless it is the id of such a thing.
require_stamped() {
    is_stamped "$2" || fail usage "this is no id of a $1: $(printf '%s' "$2" | cut -c1-100)"
}
