# shellcheck shell=sh disable=SC2154
# traffic_state KIND STATE BACKEND SOCKET PATH HOST USER: how the balancer stands, and what was last set. Changes nothing.
#
# version TEXT; maintenance on|off; edited PATH
# server NAME ADDRESS PORT WEIGHT on|drain|off tester|- up|down|- IN-FLIGHT DRIFT out|-

# include balancer.sh

balancer "$1" "$2" "$3" "$4" "$5" "$6" "$7"
"${kind}_state"
touched=/dev/null
[ ! -f "$state/traffic" ] || touched=$state/traffic
awk 'FILENAME == ARGV[1] { set[$1] = $0; next }
    {
        drift = ""
        out = "-"
        if ($1 in set) {
            split(set[$1], was, " ")
            if (was[5] == "out") { out = "out"; was[5] = "off" }
            if (was[5] != ($5 == "on" ? "on" : "off")) drift = "set " was[5] ", is " $5
            else if (was[5] == "on" && was[4] != $4) drift = "set to weight " was[4] ", has " $4
            else if (was[5] == "on" && was[6] != $6) drift = was[6] == "tester" ? "set for testers, is not" : "not set for testers, but is"
        }
        print "server\t" $1 "\t" $2 "\t" $3 "\t" $4 "\t" $5 "\t" $6 "\t" $7 "\t" $8 "\t" drift "\t" out
    }' "$touched" "$work/state"
