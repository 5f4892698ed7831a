# shellcheck shell=sh disable=SC2034,SC2154
# Give a balancer's servers their shares of the traffic. Needs balancer.sh.
# include haproxy_apply.sh
# include nginx_apply.sh

# set_traffic SHARES DRAIN UP SLOW-START: give servers their weights, and keep them in STATE/traffic, so that status can report
# changes by hand. "out" is "off" while a host changes or does not answer: if the task ends in that state, nobody takes it for
# a change by hand. "idle": nothing runs there, so it is neither waited for nor missed. "restarted": its release restarted
# while it was enabled, so it is waited for like a server that is enabled now.
set_traffic() {
    awk '{ name = $1; what = $7 } what == "idle" { print name }' "$1" >"$work/idle"
    awk '{ name = $1; admin = $5; what = $7 } what == "restarted" && admin == "on" { print name }' "$1" >"$work/restarted"
    awk '{ name = $1; address = $2; port = $3; weight = $4; admin = $5 == "out" ? "off" : $5; tester = $6
        print name, address, port, weight, admin, tester }' "$1" >"$work/wanted"
    : >"$work/unready"
    "${kind}_apply" "$work/wanted" "$2" "$3" "$4"
    touch "$state/traffic"
    awk '{ name = $1; address = $2; port = $3; weight = $4; admin = $5; tester = $6 }
        FILENAME == ARGV[1] { unready[name]; next }
        name in unready { admin = "out" }
        FILENAME == ARGV[2] { want[name] = name " " address " " port " " weight " " admin " " tester; next }
        !(name in want) { print }
        END { for (name in want) print want[name] }' "$work/unready" "$1" "$state/traffic" | sort >"$work/traffic"
    cmp -s "$work/traffic" "$state/traffic" || replace_file "$state/traffic" <"$work/traffic"
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
