# shellcheck shell=sh
# signals CURSOR UNIT...: what a host itself tells of the application, while a release is watched. Changes nothing.
#
# CURSOR is where the journal was read to before ('-': nothing is counted, reading begins here). This runs every few
# seconds on hosts that serve: two programs, and what the kernel has in files is read by the shell.
cursor=$1
shift

read -r uptime _ </proc/uptime
emit moment "$uptime"

# Memory that cannot be dropped: a cache that fills up to MemoryMax is no leak. Without cgroups v2, systemd's own number.
unit_memory() {
    while read -r key value; do
        case $key in anon) memory=$value && return 0 ;; esac
    done 2>/dev/null <"/sys/fs/cgroup$group/memory.stat" || :
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

# An entry a line, and in the end where it was read to; without an entry there is none, and the old one holds on.
errors=0
if [ "$cursor" = - ]; then
    said=$(journalctl --quiet --lines=0 --show-cursor 2>/dev/null) || :
elif [ $# -gt 0 ]; then
    for unit in "$@"; do
        set -- "$@" "--unit=$unit"
        shift
    done
    # Without an entry it ends with status 1; so it does without a journal, and then nothing is known of errors in it.
    said=$(journalctl --quiet --priority=err --after-cursor="$cursor" --show-cursor --output=cat \
        --output-fields=PRIORITY "$@" 2>/dev/null) || :
else
    said=
fi
while IFS= read -r line; do
    case $line in
        '-- cursor: '*) cursor=${line#-- cursor: } ;;
        '') ;;
        *) errors=$((errors + 1)) ;;
    esac
done <<EOF
$said
EOF
emit journal "$cursor" "$errors"
