# shellcheck shell=sh disable=SC2034,SC2154
# Give HAProxy's servers their shares; see balancer.sh. Needs haproxy.sh.
# include haproxy_servers.sh

# haproxy_plan SHARES: what is to be done, by comparing with $work/now: a word, then a command or a server's name.
haproxy_plan() {
    awk -v main="$backend" -v test="$backend-testers" '
        # look_up OF NAME: read what HAProxy has of a server in a backend; false if it is not there.
        function look_up(of, name,   has) {
            if (!((of "," name) in here)) return 0
            split(here[of "," name], has, " ")
            has_address = has[3]; has_port = has[4]; has_admin = has[6]; has_weight = has[7]; has_checks = has[9]
            return 1
        }
        FILENAME == ARGV[1] { of = $1; name = $2; here[of "," name] = $0; if (of == test) tests = 1; next }
        {
            name = $1; address = $2; port = $3; weight = $4; on = $5 == "on"; tester = $6 == "tester"
            if (!look_up(main, name)) { print "unknown", name; next }
            # An address that is a name is left to HAProxy to resolve.
            if (has_port != port || (address ~ /^[0-9.]+$|:/ && has_address != address)) {
                print "elsewhere", name, has_address ":" has_port, address ":" port
                next
            }
            set = "set server " main "/" name
            if (on && has_admin != "on") {
                # HAProxy counts a re-enabled server as up until a check fails, so its weight is 0 until a check has passed.
                print "on", set " weight 0"
                print "on", set " state ready"
                print "wait", name
                if (has_checks) print "on", set " health down"
                if (weight > 0) print "raise", set " weight " weight
            } else if (on) {
                if (weight + 0 > has_weight + 0) print "raise", set " weight " weight
                if (weight + 0 < has_weight + 0) print "lower", set " weight " weight
            } else if (has_admin != "off") {
                if (has_admin == "on") print "drain", set " state drain"
                print "empty", name, has_address, port
                print "off", set " state maint"
            }
            if (!tests || !look_up(test, name)) next
            want = on && tester ? "on" : "off"
            if (want == has_admin) next
            print (want == "on" ? "raise" : on ? "lower" : "off"), \
                "set server " test "/" name " state " (want == "on" ? "ready" : "maint")
        }' "$work/now" "$1"
}

# haproxy_apply SHARES DRAIN UP SLOW-START. Sets changed; emits cut and slow.
haproxy_apply() {
    haproxy_table
    haproxy_plan "$1" >"$work/plan"
    refuse_unknown "$work/plan"
    for word in on raise lower drain off; do sed -n "s/^$word //p" "$work/plan" >"$work/$word"; done
    sed -n 's/^wait //p' "$work/plan" | grep -vxFf "$work/idle" >"$work/wait" || :
    sed -n 's/^empty //p' "$work/plan" >"$work/empty"
    haproxy_do "$work/on"
    up_ticks=$(($3 * 10))
    haproxy_wait_up
    haproxy_require_up "$1"
    haproxy_do "$work/raise"
    haproxy_wait_warm "$4"
    haproxy_do "$work/lower"
    haproxy_do "$work/drain"
    haproxy_wait_former
    wait_empty "$2"
    haproxy_do "$work/off"
    # A check of what was waited for may have failed since.
    if [ -s "$work/wait" ] || [ -s "$work/restarted" ]; then haproxy_wait_up; fi
    awk -v main="$backend" 'FILENAME == ARGV[1] { name = $1; on[name] = $5 == "on"; next }
        { of = $1; name = $2; up = $5 }
        of == main && on[name] && !up { print name }' "$1" "$work/now" >"$work/slow"
    while read -r name; do emit slow "$name"; done <"$work/slow"
    haproxy_save
}

# haproxy_require_up SHARES: fail if the others would be disabled while no server that should get traffic is up. If none was up
# before, nobody loses anything.
haproxy_require_up() {
    awk -v main="$backend" 'FILENAME == ARGV[1] { name = $1; share[name] = $5 == "on" ? $4 : 0; next }
        { of = $1; name = $2; up = $5; present = $6 == "on" ? $7 : 0; coming = name in share ? share[name] : present }
        of == main && up && coming > 0 { n++ }
        of == main && up && present > 0 { had++ }
        END { exit !(n || !had) }' "$1" "$work/now" ||
        fail no-server 'none of the servers that should get traffic is up, so the others were not disabled'
}

# haproxy_wait_up: wait until servers that were enabled, or whose release restarted, pass their health check; at most for
# the rest of up_ticks (0.1 s each).
haproxy_wait_up() {
    haproxy_table
    while awk -v main="$backend" 'FILENAME != ARGV[3] { want[$1]; next }
        { of = $1; name = $2; up = $5 }
        of == main && name in want && !up { n++ }
        END { exit !n }' "$work/wait" "$work/restarted" "$work/now" && [ "$up_ticks" -gt 0 ]; do
        sleep 0.1
        up_ticks=$((up_ticks - 1))
        haproxy_table
    done
}

# haproxy_wait_warm SECONDS: wait until HAProxy has raised the enabled servers to their full weight (slowstart). The other
# servers keep their traffic until then; else the enabled ones would get all of it at once.
haproxy_wait_warm() {
    if [ "$1" -eq 0 ] || [ ! -s "$work/wait" ]; then return 0; fi
    ticks=$((($1 + 2) * 5))
    note "waiting until slow_start has raised $(tr '\n' ' ' <"$work/wait")to full weight"
    while haproxy_say 'show stat' && awk -F , -v main="$backend" 'FILENAME == ARGV[1] { wait[$1]; next }
        /^# pxname/ { sub(/^# /, ""); for (i = 1; i <= NF; i++) at[$i] = i; next }
        $1 == main && $2 in wait && $(at["throttle"]) != "" && $(at["throttle"]) < 100 { n++ } END { exit !n }' \
        "$work/wait" "$work/heard" && [ "$ticks" -gt 0 ]; do
        sleep 0.2
        ticks=$((ticks - 1))
    done
}

# haproxy_wait_former: wait until the processes that a reload has replaced take no more requests. For close-spread-time they
# still do, on open connections, and do not know what we set.
haproxy_wait_former() {
    [ -s "$work/empty" ] || return 0
    haproxy_say 'show info'
    pid=$(haproxy_heard_pid)
    former=120
    while [ "$former" -gt 0 ] && haproxy_has_former; do
        sleep 0.1
        former=$((former - 1))
    done
}

# haproxy_has_former: whether a process runs that a reload has replaced.
haproxy_has_former() {
    master=$(systemctl show --property=MainPID --value haproxy)
    tr ' ' '\n' 2>/dev/null <"/proc/$master/task/$master/children" >"$work/children" || return 1
    grep -qvx -e "$pid" -e '' "$work/children"
}

# haproxy_old ADDRESS PORT: requests that a process goes on with which a reload has replaced. Nobody else counts them.
haproxy_old() {
    haproxy_has_former || { echo 0 && return; }
    grep -vx -e "$pid" -e '' "$work/children" >"$work/former"
    flights_of "$work/former" "$1" "$2"
}

# haproxy_flight NAME ADDRESS PORT: sets flight, the requests in flight to a server. After haproxy_wait_former.
haproxy_flight() {
    haproxy_table
    flight=$(awk -v wanted="$1" '{ name = $2; in_flight = $8 } name == wanted { n += in_flight } END { print n + 0 }' "$work/now")
    flight=$((flight + $(haproxy_old "$2" "$3")))
}
