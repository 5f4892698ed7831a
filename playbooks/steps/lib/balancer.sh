# shellcheck shell=sh disable=SC2034,SC2154
# What the two balancers share. Each has the same functions, in KIND_apply.sh and so on. They read backend, work and what else
# `balancer` sets, and fail as other steps do. A line of SHARES: NAME ADDRESS PORT WEIGHT on|off tester|-
#   KIND_apply SHARES DRAIN UP SLOW-START  give each server its weight, wait for those that are enabled (UP seconds), and drain
#       those that are disabled: refuse_unknown, then wait_empty with "NAME ADDRESS PORT" of each in $work/empty. Reads the
#       names in $work/idle (nothing runs there) and $work/restarted. Sets changed=yes if anything changed. Emits "slow NAME"
#       for an enabled server that is not up; its name is in $work/unready if it was left disabled for that.
#   KIND_flight NAME ADDRESS PORT          set flight: how many requests are in flight to a server
#   KIND_state                             emit version and maintenance; write $work/state, a line for each server: NAME
#       ADDRESS PORT WEIGHT on|drain|off tester|- up|down|- IN-FLIGHT
#   KIND_counts CURSOR                     emit what traffic_counts.sh lists
#   KIND_maintenance on|off                show the page, or not. Sets changed=yes if that changed anything.
# provision_balancer.sh calls provision_KIND, which is in provision_KIND.sh.
# include at_most.sh
# include programs.sh
# include haproxy.sh
# include nginx.sh

# balancer: set what the functions below and those of KIND.sh read. Needs kind, state, backend, socket and
# user. A guard, which must act, has no user.
balancer() {
    if [ -n "${user-}" ]; then require_programs "$user"; else PATH=$PATH:/usr/local/sbin:/usr/local/bin; fi
    case $kind in
        haproxy) need socat haproxy ;;
        nginx) need nginx curl ;;
        *) fail usage "there is no balancer '$kind'" ;;
    esac
    need ss
    changed=no
    # In memory, so that the traffic can go back although the disk is full.
    work=$(private_folder balancer)
    trap 'rm -rf "$work"' EXIT
}

# balancer_lock WHAT: print the file to lock while WHAT, which applications share, is changed. It is a file of root's, because
# whoever can open a file (a folder of /etc, for instance) can lock it for ever.
balancer_lock() { echo "/run/slipway/.$kind-$1"; }

# hold_balancer NUMBER WHAT: lock that file, which is open as file descriptor NUMBER.
hold_balancer() {
    flock -w 120 "$1" || fail busy "another task has been changing $kind's $2 on this host for two minutes; see: lsof $(balancer_lock "$2")"
}

# flights_of NUMBERS ADDRESS PORT: print how many connections to a server these processes have. NUMBERS is a file with a process
# number in each line. Names do not count: any user could give a program that name and delay a deploy. The last pid= of a line
# is from ss(8) itself.
flights_of() {
    # An option would have ss(8) write a file, wherever that is.
    case $2 in -*) echo 0 && return ;; esac
    ss -Htnp state established dst "$2" dport = ":$3" 2>/dev/null | sed -n 's/.*,pid=\([0-9]*\),fd=[0-9]*)).*/\1/p' | grep -cxFf "$1" || :
}
