# shellcheck shell=sh disable=SC2154
# How HAProxy stands. Needs haproxy.sh.
# include haproxy_servers.sh

# haproxy_state: how it stands; into $work/state a line a server: name address port weight on|drain|off tester|-
# up|down|- in-flight
haproxy_state() {
    haproxy_say 'show info'
    emit version "HAProxy $(sed -n 's/^Version: *//p' "$work/heard")"
    haproxy_say "show map $haproxy_files/maintenance.map"
    emit maintenance "$(awk -v key="$backend" '$2 == key && $3 == "on" { on = 1 } END { print on ? "on" : "off" }' "$work/heard")"
    haproxy_table
    awk -v main="$backend" '
        { of = $1; name = $2; address = $3; port = $4; up = $5; admin = $6; weight = $7; flight[name] += $8 }
        of != main { tests = 1; for_testers[name] = admin == "on"; next }
        { order[++n] = name; here[name] = name " " address " " port " " weight " " admin; is_on[name] = admin == "on" }
        { stands[name] = admin == "off" ? "-" : up ? "up" : "down" }
        END { for (i = 1; i <= n; i++) {
            name = order[i]
            tester = is_on[name] && (!tests || for_testers[name]) ? "tester" : "-"
            print here[name], tester, stands[name], flight[name]
        } }' "$work/now" >"$work/state"
}
