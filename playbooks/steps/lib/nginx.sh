# shellcheck shell=sh disable=SC2034,SC2154
# Drive nginx by a file of upstreams and graceful reloads; its open edition has no other way. Needs backend, path, health_host
# and work. The file begins with a comment for each server, which has the server's weight and state: nginx_shares reads these.
nginx_files=/etc/nginx/slipway

# nginx_shares: write the present weights into $work/now, a line for each server: NAME ADDRESS PORT WEIGHT on|off tester|-
nginx_shares() {
    : >"$work/now"
    [ ! -f "$nginx_files/$backend.conf" ] || sed -n 's/^# server //p' "$nginx_files/$backend.conf" >"$work/now"
}

# nginx_render SHARES: print the file. If testers have no server, they get everybody's, because an upstream needs a server that
# is not down. A single server that serves is not taken out for its errors, because no other would answer.
nginx_render() {
    awk -v main="$backend" -v test="$backend-testers" '
        function is_off(i, tests) { return admin[i] != "on" || (tests ? tester[i] != "tester" : weight[i] == 0) }
        function block(name, tests,    i, live, tolerance) {
            for (i = 1; i <= n; i++) live += !is_off(i, tests)
            tolerance = live > 1 ? "max_fails=5 fail_timeout=2s" : "max_fails=0"
            printf "upstream %s {\n    zone %s 256k;\n", name, name
            for (i = 1; i <= n; i++)
                printf "    server %s weight=%d %s%s; # %s\n", at[i], (tests || weight[i] < 1 ? 1 : weight[i]), tolerance, \
                    (is_off(i, tests) ? " down" : ""), server[i]
            print "    keepalive 32;\n}"
        }
        {
            line[++n] = $0; server[n] = $1; address = $2; port = $3; weight[n] = $4; admin[n] = $5; tester[n] = $6
            at[n] = (address ~ /:/ ? "[" address "]" : address) ":" port
            if (admin[n] == "on" && tester[n] == "tester") theirs = 1
        }
        END {
            print "# Written by Slipway; it says who gets what. What is changed here by hand is lost at the next change."
            for (i = 1; i <= n; i++) print "# server", line[i]
            block(main, 0); block(test, theirs)
        }' "$1"
}

# nginx_workers: write the numbers of the processes that take new requests into $work/workers, one in each line.
nginx_workers() {
    master=$(cat /run/nginx.pid 2>/dev/null) || master=
    : >"$work/workers"
    : >"$work/children"
    [ -n "$master" ] || return 0
    tr ' ' '\n' 2>/dev/null <"/proc/$master/task/$master/children" >"$work/children" || :
    while read -r child; do
        case $(tr '\0' ' ' 2>/dev/null <"/proc/$child/cmdline") in
            *'is shutting down'*) ;;
            *'worker process'*) echo "$child" >>"$work/workers" ;;
        esac
    done <"$work/children"
}

# nginx_reload: reload, and wait until new processes have taken over. The configuration was tested before.
nginx_reload() {
    systemctl is-active --quiet nginx || return 0
    nginx_workers
    mv "$work/workers" "$work/before"
    systemctl reload nginx 2>"$work/said" || fail balancer "nginx does not reload: $(tail -n 1 "$work/said")"
    ticks=300
    while [ "$ticks" -gt 0 ]; do
        nginx_workers
        if [ -s "$work/workers" ] && ! grep -qxFf "$work/before" "$work/workers"; then return 0; fi
        sleep 0.1
        ticks=$((ticks - 1))
    done
    fail balancer 'nginx was told to reload, and its old processes still serve after 30 s; see: journalctl -u nginx, and its error.log'
}

# nginx_flight NAME ADDRESS PORT: set flight to the number of nginx's connections to a server. For a disabled server these are
# requests in flight, which the processes that a reload has replaced still serve.
nginx_flight() {
    nginx_workers
    flight=$(flights_of "$work/children" "$2" "$3")
}
