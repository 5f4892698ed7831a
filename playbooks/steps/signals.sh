# shellcheck shell=sh disable=SC2154
# signals: what a host itself tells of the application, while a release is watched, and who has let a stage go on that is held
# (promote.sh). Changes nothing.
# needs: state cursor
# words: UNIT...
#
# cursor is where the journal was read to before, or a time ('-': nothing is counted, reading begins here). This runs every few
# seconds on hosts that serve: two programs, and what the kernel has in files is read by the shell.
promoted=/run/slipway/${state#/var/lib/slipway/}/promoted

if [ -s "$promoted" ]; then
    id='' who='' stage=''
    IFS="$tab" read -r id who stage <"$promoted" || :
    emit promoted "$id" "$who" "$stage"
fi
read -r uptime _ </proc/uptime
emit moment "$uptime"

# Memory that cannot be dropped: a cache that fills up to MemoryMax is no leak. Where the kernel does not account for it
# by unit (cgroups v1, or a container that was not given the controller), the unit's processes are added up.
unit_memory() {
    while read -r key value; do
        case $key in anon) memory=$value && return 0 ;; esac
    done 2>/dev/null <"/sys/fs/cgroup$group/memory.stat" || :
    for place in "/sys/fs/cgroup$group" "/sys/fs/cgroup/systemd$group"; do
        [ -r "$place/cgroup.procs" ] || continue
        memory=0
        while read -r process; do
            while read -r key value _; do
                case $key in RssAnon:) memory=$((memory + value * 1024)) && break ;; esac
            done 2>/dev/null <"/proc/$process/status" || :
        done <"$place/cgroup.procs"
        return 0
    done
}

if [ $# -gt 0 ]; then
    id='' active='' sub='' restarts=0 memory='' most='' group=''
    while IFS='=' read -r key value; do
        case $key in
            Id) id=$value ;;
            ActiveState) active=$value ;;
            SubState) sub=$value ;;
            NRestarts) restarts=$value ;;
            MemoryCurrent) memory=$value ;;
            MemoryMax) most=$value ;;
            ControlGroup) group=$value ;;
            '')
                [ -z "$id" ] || {
                    [ -z "$group" ] || unit_memory
                    case $memory in *[!0-9]* | ???????????????????*) memory='' ;; esac
                    case $most in *[!0-9]* | ???????????????????*) most='' ;; esac
                    emit unit "$id" "$active" "$sub" "$restarts" "${memory:--}" "${most:--}"
                }
                id='' active='' sub='' restarts=0 memory='' most='' group=''
                ;;
        esac
    done <<EOF
$(systemctl show --property=Id,ActiveState,SubState,NRestarts,MemoryCurrent,MemoryMax,ControlGroup "$@")

EOF
fi

# An entry a line, its priority alone, and in the end where it was read to. Without an entry there is no cursor, and the
# status is 1 as if it had failed; only what is said tells them apart.
errors=0
wrong=
status=0
said=
if [ "$cursor" = - ]; then
    # Not a cursor of the whole journal: after an entry that is none of ours, journalctl leaves out the first that is.
    cursor=$(date +@%s.%6N)
elif [ $# -gt 0 ]; then
    for unit in "$@"; do
        set -- "$@" "--unit=$unit"
        shift
    done
    case $cursor in
        @*) set -- "$@" "--since=$cursor" ;;
        *) set -- "$@" "--after-cursor=$cursor" ;;
    esac
    said=$(journalctl --quiet --priority=err --show-cursor --output=cat --output-fields=PRIORITY "$@" 2>&1) || status=$?
fi
while IFS= read -r line; do
    case $line in
        '-- cursor: '*) cursor=${line#-- cursor: } ;;
        [0-7]) errors=$((errors + 1)) ;;
        ?*) wrong=$line ;;
    esac
done <<EOF
$said
EOF
[ "$status" = 0 ] || [ -z "$wrong" ] || fail journal "the journal cannot be read: $wrong"
emit journal "$cursor" "$errors"
