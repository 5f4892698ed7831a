# shellcheck shell=sh disable=SC2034,SC2154
# Drive nginx by a file of upstreams and graceful reloads; its open edition has no other way. Needs backend, path, health_host
# and work. The file begins with a comment for each server, which has the server's weight and state: nginx_shares reads these.
nginx_files=/etc/nginx/slipway
nginx_log=/var/log/nginx/slipway
# At most this many bytes of the log are read at once: ten million requests. nginx's workers could make the log, and a line,
# endless.
nginx_most=1000000000

# nginx_shares: write the present weights into $work/now, a line for each server: NAME ADDRESS PORT WEIGHT on|off tester|-
nginx_shares() {
    : >"$work/now"
    [ ! -f "$nginx_files/$backend.conf" ] || sed -n 's/^# server //p' "$nginx_files/$backend.conf" >"$work/now"
}

# nginx_render SHARES: print the file. If testers have no server, they get everybody's, because an upstream needs a server that
# is not down. A single server that serves is not taken out for its errors, because no other would answer.
nginx_render() {
    awk -v main="$backend" -v test="$backend-testers" '
        function is_off(s, tests) { return s[5] != "on" || (tests ? s[6] != "tester" : s[4] == 0) }
        function block(name, tests,    i, s, at, off, live) {
            for (i = 1; i <= n; i++) { split(line[i], s, " "); live += !is_off(s, tests) }
            printf "upstream %s {\n    zone %s 256k;\n", name, name
            for (i = 1; i <= n; i++) {
                split(line[i], s, " ")
                at = (s[2] ~ /:/ ? "[" s[2] "]" : s[2]) ":" s[3]
                off = is_off(s, tests)
                printf "    server %s weight=%d %s%s; # %s\n", at, (tests || s[4] < 1 ? 1 : s[4]), (live > 1 ? "max_fails=5 fail_timeout=2s" : "max_fails=0"), (off ? " down" : ""), s[1]
            }
            print "    keepalive 32;\n}"
        }
        { line[++n] = $0; if ($5 == "on" && $6 == "tester") theirs = 1 }
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

# nginx_answers ADDRESS PORT: whether a server is healthy. nginx itself never asks.
nginx_answers() {
    case $1 in *:*) at="[$1]:$2" ;; *) at=$1:$2 ;; esac
    [ "$(curl --disable --silent --output /dev/null --max-time 2 --write-out '%{http_code}' --header "Host: $health_host" "http://$at$path")" = 200 ]
}

# nginx_flight NAME ADDRESS PORT: set flight to the number of nginx's connections to a server. For a disabled server these are
# requests in flight, which the processes that a reload has replaced still serve.
nginx_flight() {
    nginx_workers
    flight=$(flights_of "$work/children" "$2" "$3")
}

# nginx_apply SHARES DRAIN UP: see balancer.sh. Sets changed; emits cut and slow.
nginx_apply() {
    nginx_shares
    awk 'FILENAME == ARGV[1] { here[$1] = $0; next }
        { split(here[$1], is, " "); if (!($1 in here)) print "unknown", $1
          else if (is[2] != $2 || is[3] != $3) print "elsewhere", $1, is[2] ":" is[3], $2 ":" $3
          else if ($5 == "on" && is[5] != "on") print "wait", $0
          else if ($5 != "on") print "empty", $1, $2, $3 }' "$work/now" "$1" >"$work/plan"
    refuse_unknown "$work/plan"
    sed -n 's/^wait //p' "$work/plan" >"$work/wait"
    sed -n 's/^empty //p' "$work/plan" >"$work/empty"
    nginx_wait_up "$3"
    cp "$work/slow" "$work/unready"
    # A server that is not up stays off: nginx has no health checks and would send it users.
    awk 'FILENAME == ARGV[1] { slow[$1]; next } FILENAME == ARGV[2] { want[$1] = $0; if ($1 in slow) sub(/ on /, " off ", want[$1]); next }
        { print $1 in want ? want[$1] : $0 }' "$work/slow" "$1" "$work/now" >"$work/coming"
    awk 'FILENAME == ARGV[1] { idle[$1]; next }
        $5 != "on" || $4 == 0 { next } FILENAME == ARGV[2] { had += !($1 in idle); next } { n += !($1 in idle) } END { exit !(n || !had) }' \
        "$work/idle" "$work/now" "$work/coming" || fail no-server 'none of the servers that should get traffic is up, so the others were not disabled'
    nginx_put "$work/coming"
    wait_empty "$2"
}

# nginx_put SHARES: set the weights. A mark in memory stays until nginx has read the file: if the step is cut off or the reload
# fails, the same request later sees that and reloads.
nginx_put() {
    nginx_render "$1" >"$work/rendered"
    unread=/run/slipway/${state#/var/lib/slipway/}/unread
    if ! cmp -s "$work/rendered" "$nginx_files/$backend.conf"; then
        changed=yes
        cp "$nginx_files/$backend.conf" "$work/old"
        mkdir -p "${unread%/*}"
        had=$unread
        [ -e "$unread" ] || had=
        : >"$unread"
        replace_file "$nginx_files/$backend.conf" <"$work/rendered"
        if ! nginx -t -q 2>"$work/said"; then
            replace_file "$nginx_files/$backend.conf" <"$work/old"
            [ -n "$had" ] || rm -f "$unread"
            fail balancer "nginx does not accept the change: $(grep -m 1 emerg "$work/said" || tail -n 1 "$work/said")"
        fi
    elif [ ! -e "$unread" ]; then
        return 0
    fi
    nginx_reload
    rm -f "$unread"
}

# nginx_wait_up SECONDS: wait for the servers in $work/wait; those that do not answer by then are in $work/slow.
nginx_wait_up() {
    ticks=$(($1 * 5))
    cp "$work/wait" "$work/slow"
    while [ -s "$work/slow" ]; do
        : >"$work/still"
        while read -r name address port rest_of_it; do
            nginx_answers "$address" "$port" || echo "$name $address $port $rest_of_it" >>"$work/still"
        done <"$work/slow"
        mv "$work/still" "$work/slow"
        awk 'FILENAME == ARGV[1] { idle[$1]; next } !($1 in idle) { n++ } END { exit !n }' "$work/idle" "$work/slow" || break
        [ "$ticks" -gt 0 ] || break
        sleep 0.2
        ticks=$((ticks - 1))
    done
    while read -r name _; do emit slow "$name"; done <"$work/slow"
}

# nginx_state: see balancer.sh.
nginx_state() {
    emit version "$(nginx -v 2>&1 | sed 's/.*: //')"
    if [ -e "$nginx_files/$backend.maintenance" ]; then emit maintenance on; else emit maintenance off; fi
    nginx_shares
    # Ask side by side: if all servers hang, asking one after another would take longer than this step may.
    asked=0
    while read -r name address port _ admin _; do
        [ "$admin" = on ] || continue
        { ! nginx_answers "$address" "$port" || : >"$work/up-$name"; } &
        asked=$((asked + 1))
        [ $((asked % 16)) -ne 0 ] || wait
    done <"$work/now"
    wait
    while read -r name address port weight admin tester; do
        up=-
        [ "$admin" != on ] || if [ -e "$work/up-$name" ]; then up=up; else up=down; fi
        nginx_flight "$name" "$address" "$port"
        echo "$name $address $port $weight $admin $tester $up $flight"
    done <"$work/now" >"$work/state"
    nginx_render "$work/now" | cmp -s - "$nginx_files/$backend.conf" || emit edited "$nginx_files/$backend.conf"
}

# nginx_maintenance on|off: make or remove the file that nginx looks for at each request.
nginx_maintenance() {
    [ -d "$nginx_files" ] || fail unknown-server "$nginx_files is not there; run: invoke provision --env=…"
    if [ "$1" = on ] && [ ! -e "$nginx_files/$backend.maintenance" ]; then
        : >"$nginx_files/$backend.maintenance"
        changed=yes
    elif [ "$1" = off ] && [ -e "$nginx_files/$backend.maintenance" ]; then
        rm "$nginx_files/$backend.maintenance"
        changed=yes
    fi
    sync "$nginx_files"
}

# nginx_counts CURSOR: count the requests in the log since CURSOR (INODE:OFFSET). Each try at a server counts for that server.
nginx_counts() {
    log=$nginx_log-$backend.log
    [ -f "$log" ] || fail balancer "$log is not there; run: invoke provision --env=…"
    inode=$(stat -c %i "$log")
    from=${1#*:}
    # A rotated log is read to its end.
    aside=
    if [ "$1" != - ] && [ "${1%:*}" != "$inode" ]; then
        aside=$from
        from=0
    fi
    size=$(stat -c %s "$log")
    [ "$1" = - ] || [ "$from" -le "$size" ] || from=0
    [ "$1" != - ] || from=$size
    nginx_shares
    # A line is STATUS|ADDRESS, ADDRESS|STATUS, STATUS|SECONDS, SECONDS
    {
        [ -z "$aside" ] || find "${log%/*}" -maxdepth 1 -inum "${1%:*}" -name "${log##*/}*" ! -name '*.gz' -exec tail -c "+$((aside + 1))" {} \;
        tail -c "+$((from + 1))" "$log" | head -c "$((size - from))"
    } | head -c "$nginx_most" | fold -b -w 8192 | awk -F '|' 'FILENAME == ARGV[1] { split($0, s, " "); name[(s[2] ~ /:/ ? "[" s[2] "]" : s[2]) ":" s[3]] = s[1]; next }
        # A request that no server got (for the maintenance page) says nothing about the servers.
        $2 != "" && $2 != "-" { whole++; if ($1 >= 500) failed++ }
        { tries = split($2, at, /, | : /); split($3, status, /, | : /); split($4, seconds, /, | : /)
          for (i = 1; i <= tries; i++) {
            if (!(at[i] in name) || status[i] !~ /^[0-9]+$/) continue
            who = name[at[i]]; all[who]++; if (status[i] >= 500) bad[who]++
            if (seconds[i] !~ /^[0-9.]+$/) continue
            ms = seconds[i] * 1000; b = ms > 1 ? int(log(ms) / log(1.1) + 0.999999) : 0; n[who "\t" b]++ } }
        END { print "whole\tcursor\t" whole + 0 "\t" failed + 0
          for (k in all) print "counted\t" k "\t" all[k] "\t" bad[k] + 0; for (k in n) print "latency\t" k "\t" n[k] }' \
        "$work/now" -
    emit epoch -
    emit cursor "$inode:$size"
}
