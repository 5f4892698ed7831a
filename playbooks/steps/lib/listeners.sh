# shellcheck shell=sh disable=SC2034
# Find out which program gets a connection to this host. A port above 1023 belongs to the program that binds it first. While the
# application restarts, or after it has ended, that may be a program of any user.

# listeners ADDRESS PORT: print the sockets that get a connection, each as the user's number and the inode in a line. The kernel
# takes the most specific one: that very address, then all of IPv4, then all of IPv6.
listeners() {
    awk -v address="$1" -v port="$(printf '%04X' "$2")" '
        BEGIN {
            six = "00000000000000000000000000000000"
            if (split(address, part, ".") == 4 && address !~ /:/) {
                # The kernel prints an address in the byte order of the machine, so both orders are here.
                little = sprintf("%02X%02X%02X%02X", part[4], part[3], part[2], part[1])
                big = sprintf("%02X%02X%02X%02X", part[1], part[2], part[3], part[4])
                rank[little] = rank[big] = rank["0000000000000000FFFF0000" little] = rank["00000000000000000000FFFF" big] = 1
                rank["00000000"] = 2
            } else if (address == "::1") {
                rank["00000000000000000000000001000000"] = rank["00000000000000000000000000000001"] = 1
            } else {
                any = 1
            }
            rank[six] = 3
        }
        $4 == "0A" {
            split($2, at, ":")
            its = at[1] in rank ? rank[at[1]] : any && length(at[1]) == 32 ? 1 : 0
            if (at[2] == port && its) found[its] = found[its] $8 " " $10 "\n"
        }
        END { printf "%s", 1 in found ? found[1] : 2 in found ? found[2] : found[3] }
    ' /proc/net/tcp /proc/net/tcp6 2>/dev/null || :
}

# is_socket_of INODE UNIT...: whether a process of one of these units has that socket.
is_socket_of() {
    socket_inode=$1
    shift
    for socket_unit in "$@"; do
        socket_group=$(systemctl show --property=ControlGroup --value -- "$socket_unit")
        [ -n "$socket_group" ] || continue
        for socket_at in "/sys/fs/cgroup$socket_group" "/sys/fs/cgroup/systemd$socket_group" "/sys/fs/cgroup/unified$socket_group"; do
            [ -d "$socket_at" ] || continue
            # The files have only numbers in them.
            # shellcheck disable=SC2044
            for socket_pid in $(find "$socket_at" -name cgroup.procs -exec cat {} + 2>/dev/null); do
                [ -z "$(find "/proc/$socket_pid/fd" -lname "socket:\[$socket_inode\]" 2>/dev/null)" ] || return 0
            done
        done
    done
    return 1
}

# find_stranger ADDRESS PORT USERS UNIT...: set stranger to the name of a user who listens there, if it is not in USERS
# (numbers, each between blanks) and its process is not in one of these units; else to nothing. Set listened to whether anybody
# listens.
find_stranger() {
    stranger=
    listened=no
    stranger_users=$3
    stranger_seen=$(listeners "$1" "$2")
    shift 3
    [ -n "$stranger_seen" ] || return 0
    # shellcheck disable=SC2034
    listened=yes
    while read -r stranger_uid stranger_inode; do
        case $stranger_users in *" $stranger_uid "*) continue ;; esac
        ! is_socket_of "$stranger_inode" "$@" || continue
        stranger=$(id -nu "$stranger_uid" 2>/dev/null) || stranger=$stranger_uid
    done <<END_OF_LISTENERS
$stranger_seen
END_OF_LISTENERS
}

# numbers_of USER...: print the numbers of root and of those users who exist, each between blanks.
numbers_of() {
    numbers=' 0 '
    for numbers_name in "$@"; do
        case $numbers_name in
            '') continue ;;
            *[!0-9]*) numbers_name=$(id -u -- "$numbers_name" 2>/dev/null) || continue ;;
        esac
        numbers="$numbers$numbers_name "
    done
    printf '%s' "$numbers"
}

# may_tell NAME PORT USERS UNIT...: whether a secret may be sent to the program that listens there. A server of another host may
# get it. On this host, by whatever name, the program must belong to USERS or to a UNIT (see find_stranger). If it does not,
# stranger is its user. If nobody listens, stranger is empty and the answer is no, because in the next moment somebody might
# listen.
may_tell() {
    tell_found=$(timeout 2 getent ahosts -- "$1" | awk '{ sub(/^::ffff:/, "", $1); print $1 }' | sort -u) || :
    tell_port=$2
    shift 2
    stranger=
    tell_nobody=
    tell_own=$(ip -o address show 2>/dev/null | awk '{ sub(/\/.*/, "", $4); print $4 }') || :
    for tell_at in $tell_found; do
        # A connection to 0.0.0.0 or :: goes to this host.
        case $tell_at in
            0.*) tell_at=127.0.0.1 ;;
            ::) tell_at=::1 ;;
        esac
        case $tell_at in
            127.* | ::1) ;;
            *)
                # The kernel may forward one of this host's own addresses to a container.
                tell_nobody=no
                printf '%s\n' "$tell_own" | grep -qxF -- "$tell_at" || continue
                ;;
        esac
        find_stranger "$tell_at" "$tell_port" "$@"
        [ -z "$stranger" ] || return 1
        if [ "$listened" = yes ]; then tell_nobody=no; else tell_nobody=${tell_nobody:-yes}; fi
    done
    [ "$tell_nobody" != yes ] || grep -qs 1 /proc/sys/net/ipv4/conf/*/route_localnet
}

# split_url URL: set url_host and url_port.
split_url() {
    url_host=${1#*://}
    url_host=${url_host%%[/?#]*}
    url_host=${url_host##*@}
    url_port=80
    case $1 in [Hh][Tt][Tt][Pp][Ss]:*) url_port=443 ;; esac
    case $url_host in
        *:*']') ;;
        *:[0-9]*) url_port=${url_host##*:} && url_host=${url_host%:*} ;;
    esac
    case $url_host in '['*']') url_host=${url_host#?} && url_host=${url_host%?} ;; esac
}
