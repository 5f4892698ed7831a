# shellcheck shell=sh disable=SC2034,SC2154
# What the two balancers share. Each has the same functions, in KIND.sh. They read backend, path, health_host, work and what
# else `balancer` sets, and fail as other steps do. A line of SHARES: NAME ADDRESS PORT WEIGHT on|off tester|-
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

# balancer: set what the functions below and those of KIND.sh read. Needs kind, state, backend, socket, path (that the health
# check asks for) and health_host (its Host header).
balancer() {
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

# refuse_unknown PLAN: fail if the balancer does not have a server of the plan, or has it at another address.
refuse_unknown() {
    while read -r word name has wants; do
        case $word in
            unknown) fail unknown-server "the balancer has no server $name" ;;
            elsewhere) fail unknown-server "the balancer has $name at $has, expected $wants" ;;
        esac
    done <"$1"
}

# flights_of NUMBERS ADDRESS PORT: print how many connections to a server these processes have. NUMBERS is a file with a process
# number in each line. Names do not count: any user could give a program that name and delay a deploy. The last pid= of a line
# is from ss(8) itself.
flights_of() {
    ss -Htnp state established dst "$2" dport = ":$3" 2>/dev/null | sed -n 's/.*,pid=\([0-9]*\),fd=[0-9]*)).*/\1/p' | grep -cxFf "$1" || :
}

# wait_empty SECONDS: wait until no request is in flight to the servers in $work/empty. Emits "cut NAME COUNT" for the rest.
wait_empty() {
    ticks=$(($1 * 10))
    while read -r name address port; do
        while :; do
            "${kind}_flight" "$name" "$address" "$port"
            if [ "$flight" = 0 ] || [ "$ticks" -le 0 ]; then break; fi
            sleep 0.1
            ticks=$((ticks - 1))
        done
        [ "$flight" = 0 ] || emit cut "$name" "$flight"
    done <"$work/empty"
}

# set_traffic SHARES DRAIN UP SLOW-START: give servers their weights, and keep them in STATE/traffic, so that status can report
# changes by hand. "out" is "off" while a host changes or does not answer: if the task ends in that state, nobody takes it for
# a change by hand. "idle": nothing runs there, so it is neither waited for nor missed. "restarted": its release restarted
# while it was enabled, so it is waited for like a server that is enabled now.
set_traffic() {
    awk '$7 == "idle" { print $1 }' "$1" >"$work/idle"
    awk '$7 == "restarted" && $5 == "on" { print $1 }' "$1" >"$work/restarted"
    awk '{ print $1, $2, $3, $4, $5 == "out" ? "off" : $5, $6 }' "$1" >"$work/wanted"
    : >"$work/unready"
    "${kind}_apply" "$work/wanted" "$2" "$3" "$4"
    touch "$state/traffic"
    awk 'FILENAME == ARGV[1] { unready[$1]; next }
        FILENAME == ARGV[2] { want[$1] = $1 " " $2 " " $3 " " $4 " " ($1 in unready ? "out" : $5) " " $6; next }
        !($1 in want) { print }
        END { for (name in want) print want[name] }' "$work/unready" "$1" "$state/traffic" | sort >"$work/traffic"
    cmp -s "$work/traffic" "$state/traffic" || replace_file "$state/traffic" <"$work/traffic"
}
