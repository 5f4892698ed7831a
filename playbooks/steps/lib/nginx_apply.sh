# shellcheck shell=sh disable=SC2034,SC2154
# Give nginx's servers their shares; see balancer.sh. Needs nginx.sh.
# include nginx_answers.sh

# nginx_apply SHARES DRAIN UP: see balancer.sh. Sets changed; emits cut and slow.
nginx_apply() {
    nginx_shares
    awk '{ name = $1; address = $2; port = $3; admin = $5 }
        FILENAME == ARGV[1] { here[name]; has_address[name] = address; has_port[name] = port; has_admin[name] = admin; next }
        !(name in here) { print "unknown", name; next }
        has_address[name] != address || has_port[name] != port {
            print "elsewhere", name, has_address[name] ":" has_port[name], address ":" port
            next
        }
        admin == "on" && has_admin[name] != "on" { print "wait", $0 }
        admin != "on" { print "empty", name, address, port }' "$work/now" "$1" >"$work/plan"
    refuse_unknown "$work/plan"
    sed -n 's/^wait //p' "$work/plan" >"$work/wait"
    sed -n 's/^empty //p' "$work/plan" >"$work/empty"
    nginx_wait_up "$3"
    cp "$work/slow" "$work/unready"
    # A server that is not up stays off: nginx has no health checks and would send it users.
    awk '{ name = $1 }
        FILENAME == ARGV[1] { slow[name]; next }
        FILENAME == ARGV[2] { want[name] = $0; if (name in slow) sub(/ on /, " off ", want[name]); next }
        { print name in want ? want[name] : $0 }' "$work/slow" "$1" "$work/now" >"$work/coming"
    awk '{ name = $1; weight = $4; admin = $5 }
        FILENAME == ARGV[1] { idle[name]; next }
        name in idle || admin != "on" || weight == 0 { next }
        FILENAME == ARGV[2] { had++; next }
        { n++ }
        END { exit !(n || !had) }' "$work/idle" "$work/now" "$work/coming" ||
        fail no-server 'none of the servers that should get traffic is up, so the others were not disabled'
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
