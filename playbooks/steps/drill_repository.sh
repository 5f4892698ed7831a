# shellcheck shell=sh disable=SC2034,SC2154
# What both drills begin with. A drill goes on after a problem: one run tells everything that is wrong.
problems=0
problem() {
    problems=$((problems + 1))
    emit problem "$1"
}

# A restic command in a subshell: its failure is a finding here, not the end of the step.
tried() {
    if answer=$(run_restic "$@"); then return 0; fi
    problem "$(printf '%s' "$answer" | sed -n 's/^error\t[^\t]*\t//p')"
    return 1
}

# Structure, then the data itself: all of it where that is little, else a part that changes daily, so that a week of
# drills has read everything. A flipped bit passes a check of structure alone.
check_repository() {
    part=$(($(date +%s) / 86400 % 7 + 1))/7
    case $repository in
        /*) if [ "$(du -sk "$repository" 2>/dev/null | cut -f1)" -lt 1048576 ]; then part=1/1; fi ;;
    esac
    tried "$scratch/check" check --read-data-subset="$part" || return 1
    emit checked "$part"
}
