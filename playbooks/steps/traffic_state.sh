# shellcheck shell=sh disable=SC2154
# traffic_state: how the balancer stands, and what was last set. Changes nothing.
# needs: kind state backend socket path health_host user
#
# version TEXT; maintenance on|off; edited PATH
# server NAME ADDRESS PORT WEIGHT on|drain|off tester|- up|down|- IN-FLIGHT DRIFT out|-

# include balancer.sh
# include haproxy_state.sh
# include nginx_state.sh

balancer
"${kind}_state"
touched=/dev/null
[ ! -f "$state/traffic" ] || touched=$state/traffic
awk 'BEGIN { OFS = "\t" }
    FILENAME == ARGV[1] { set[$1] = $0; next }
    {
        name = $1; address = $2; port = $3; weight = $4; admin = $5; tester = $6; up = $7; flight = $8
        drift = ""
        out = "-"
        if (name in set) {
            split(set[name], was, " ")
            was_weight = was[4]; was_admin = was[5]; was_tester = was[6]
            if (was_admin == "out") { out = "out"; was_admin = "off" }
            if (was_admin != (admin == "on" ? "on" : "off")) drift = "set " was_admin ", is " admin
            else if (was_admin == "on" && was_weight != weight) drift = "set to weight " was_weight ", has " weight
            else if (was_admin == "on" && was_tester != tester)
                drift = was_tester == "tester" ? "set for testers, is not" : "not set for testers, but is"
        }
        print "server", name, address, port, weight, admin, tester, up, flight, drift, out
    }' "$touched" "$work/state"
