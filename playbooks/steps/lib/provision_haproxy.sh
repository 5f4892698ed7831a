# shellcheck shell=sh disable=SC2154
# provision_haproxy: the configuration in $incoming/config, once HAProxy has accepted it beside those of other applications.
# It can include no files unless it is started otherwise, so all of them are put into the one that it reads.
provision_haproxy() {
    config=/etc/haproxy/haproxy.cfg
    [ -d "$haproxy_files" ] || mkdir -m 0755 "$haproxy_files"
    exec 7>>"$(balancer_lock configuration)"
    hold_balancer 7 configuration
    make_part "$haproxy_files" cfg
    refuse_neighbours
    refuse_strangers "$config" cfg
    # Others know it by its socket.
    others=$(find "$incoming/parts" -type f ! -name "$app.cfg")
    [ -z "$others" ] || grep -q "^ *stats socket $socket " "$config" ||
        fail neighbour "HAProxy on this host has its admin socket elsewhere, for other applications; make slipway_balancer.socket the same"
    [ -e "$haproxy_files/maintenance.map" ] || printf '%s off\n' "$backend" >"$haproxy_files/maintenance.map"
    chmod 0644 "$haproxy_files/maintenance.map"
    [ -e "$haproxy_saved" ] || haproxy_keep /dev/null
    # The page is read when the configuration is.
    page=$haproxy_files/$backend.html
    page_new=no
    [ ! -e "$page" ] || cp -p "$page" "$work/page"
    ! put "$incoming/page" "$page" || page_new=yes
    coming=/etc/haproxy/.haproxy.cfg.coming
    trap 'rm -rf "$incoming" "$work" "$coming"' EXIT
    { haproxy_fronts && haproxy_challenges; } >"$work/fronts"
    cat "$incoming/shared" "$work/fronts" "$incoming"/parts/*.cfg >"$coming"
    said=$(haproxy -c -q -f "$coming" 2>&1) ||
        fail_showing balancer 'HAProxy does not accept the configuration' "$(printf '%s' "$said" | grep -i alert | sed "s|$coming|haproxy.cfg|g")"
    config_new=no
    if ! cmp -s "$coming" "$config"; then
        haproxy_forget_moved "$coming"
        config_new=yes
        [ ! -e "$config" ] || cp -p "$config" "$work/before"
        replace_file "$haproxy_files/$app.cfg" <"$incoming/parts/$app.cfg"
        put "$coming" "$config" || :
    fi
    if [ "$config_new$page_new" != nono ] && systemctl is-active --quiet haproxy; then
        haproxy_reload || {
            # What lies there is what runs; and the next provision tries again.
            [ ! -e "$work/before" ] || cp -p "$work/before" "$config"
            [ ! -e "$work/page" ] || cp -p "$work/page" "$page"
            fail balancer 'HAProxy does not reload: no new process of it answers; see: journalctl -u haproxy'
        }
    fi
    start_unit haproxy
}

# haproxy_fronts: prints a frontend for each port that applications share by their host names, of the lines that each has for
# it; a line that two have is one line.
haproxy_fronts() {
    sed -n 's/^# front bind :\([0-9]*\).*/\1/p' "$incoming"/parts/*.cfg | sort -nu >"$work/ports"
    [ -s "$work/ports" ] || return 0
    printf '%s\n' '# Ports that applications share by their host names.' defaults '    mode http' '    log global' \
        '    log ring@slipway format iso local0' '    option httplog' '    option forwardfor' '    timeout connect 2s' \
        '    timeout client 30s' '    timeout server 30s' '    timeout http-request 10s' '    timeout http-keep-alive 60s' \
        '    timeout tunnel 1h'
    while read -r port; do
        printf '\nfrontend slipway-%s\n' "$port"
        # HAProxy follows rules first and then where requests go, whatever is written, and warns of another order.
        awk -v port="$port" '
            function take(   i) {
                for (i = 1; i <= count; i++) {
                    if (line[i] in seen) continue
                    seen[line[i]]
                    if (line[i] ~ /^use_backend /) use[++uses] = line[i]; else rule[++rules] = line[i]
                }
            }
            FNR == 1 { if (mine) take(); mine = count = 0 }
            !sub(/^# front /, "") { next }
            $1 != "bind" { line[++count] = $0; next }
            $2 != ":" port { next }
            { mine = 1 }
            $4 == "crt" && !($5 in known) { known[$5]; crt = crt " crt " $5 }
            END {
                if (mine) take()
                print "    bind :" port (crt == "" ? "" : " ssl" crt " alpn h2,http/1.1")
                for (i = 1; i <= rules; i++) print "    " rule[i]
                for (i = 1; i <= uses; i++) print "    " use[i]
                print "    default_backend slipway-nobody"
            }' "$incoming"/parts/*.cfg
    done <"$work/ports"
    printf '\n%s\n%s\n\n' 'backend slipway-nobody' '    http-request return status 421 content-type text/plain string "no application has this host name here"'
}

# haproxy_challenges: prints the way to certbot, where an application has its certificate from an authority.
haproxy_challenges() {
    grep -qs '^\(# front\|   \) use_backend slipway-acme ' "$incoming"/parts/*.cfg || return 0
    printf '%s\n' 'backend slipway-acme' '    mode http' '    timeout connect 2s' '    timeout server 30s' \
        "    server certbot 127.0.0.1:$acme_port" ''
}

# haproxy_reload: until a new process has taken over; systemd only tells it to. Before that a new port refuses clients.
haproxy_reload() {
    former=$(haproxy_worker)
    systemctl reload haproxy || return 1
    ticks=300
    while [ "$ticks" -gt 0 ]; do
        worker=$(haproxy_worker)
        if [ -n "$worker" ] && [ "$worker" != "$former" ]; then return 0; fi
        sleep 0.1
        ticks=$((ticks - 1))
    done
    return 1
}

# haproxy_worker: prints the number of the process that answers at the socket, if one does.
haproxy_worker() { ! haproxy_ask 'show info' || haproxy_heard_pid; }

# haproxy_forget_moved CONFIG: what is saved of a server brings back its old address and port, so it goes when those change.
# When its usual weight does, HAProxy would give up what was set at run time, so what is saved is told of the new one.
haproxy_forget_moved() {
    if [ -S "$socket" ] && (haproxy_save) >/dev/null 2>&1; then :; fi
    # See haproxy_keep: opening it may hang.
    timeout 5 head -c "$((haproxy_kb * 1024))" "$haproxy_saved" >"$work/was_saved" 2>/dev/null || :
    awk -v main="$backend" -v test="$backend-testers" '
        FILENAME == ARGV[1] { name = $1; was[name] = $2; usual[name] = $3; next }
        FILENAME == ARGV[2] && $1 == "backend" { of = $2 }
        FILENAME == ARGV[2] && $1 == "server" { name = $2; place = $3; at[of "," name "," place] }
        FILENAME == ARGV[2] { next }
        NF < 19 || /^#/ { print; next }
        { of = $2; name = $4; address = $5; weight = $8; host = $18; port = $19; who = of "," name "," }
        # Column 8 is the weight, column 9 the usual one.
        (of == main || of == test) && name in was { if (weight == was[name]) $8 = usual[name]; $9 = usual[name] }
        ((who address ":" port) in at) || ((who host ":" port) in at) || ((who "[" address "]:" port) in at)' \
        "$work/usual" "$1" "$work/was_saved" >"$work/kept"
    haproxy_keep "$work/kept"
}
