# shellcheck shell=sh disable=SC2034
# Who would take a connection to this host. A port above 1023 is whose program binds it first: while the application starts
# anew, or after it has ended, that may be anybody's on the host.

# listeners ADDRESS PORT: the sockets to which a connection goes: the user's number and the inode, a line each. The kernel
# takes the most exact: that very address, then all of IPv4, then all of IPv6.
listeners() {
    awk -v address="$1" -v port="$(printf '%04X' "$2")" '
        BEGIN {
            six = "00000000000000000000000000000000"
            if (split(address, part, ".") == 4 && address !~ /:/) {
                # As the kernel prints them on machines of either order of bytes.
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
            # Numbers alone.
            # shellcheck disable=SC2044
            for socket_pid in $(find "$socket_at" -name cgroup.procs -exec cat {} + 2>/dev/null); do
                [ -z "$(find "/proc/$socket_pid/fd" -lname "socket:\[$socket_inode\]" 2>/dev/null)" ] || return 0
            done
        done
    done
    return 1
}

# find_stranger ADDRESS PORT USERS UNIT...: set stranger to the name of a user who listens there, is none of USERS (numbers, with a
# blank on both sides), and whose process is in none of these units; else to nothing. Set listened to whether anybody does.
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
