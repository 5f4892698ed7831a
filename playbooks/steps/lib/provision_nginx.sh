# shellcheck shell=sh disable=SC2154
# provision_nginx: the configuration in $incoming/config and the servers in $incoming/servers, once nginx has accepted both
# beside those of other applications.
provision_nginx() {
    config=/etc/nginx/nginx.conf
    upstreams=$nginx_files/$backend.conf
    site=$nginx_files/$app.site
    shared_ports=$nginx_files/names.default
    [ -d "$nginx_files" ] || mkdir -m 0755 "$nginx_files"
    exec 7>>"$(balancer_lock configuration)"
    hold_balancer 7 configuration
    make_part "$nginx_files" site
    refuse_neighbours
    refuse_strangers "$config" site
    cp "$incoming/parts/$app.site" "$work/site"
    # A line that two applications have is one line.
    if [ "$whole" = whole ]; then cp "$work/site" "$work/main"; else
        {
            head -n 1 "$incoming/shared"
            sed -n 's/^# main //p' "$incoming"/parts/*.site | awk '!seen[$0]++'
            tail -n +2 "$incoming/shared"
        } >"$work/main"
    fi
    nginx_names >"$work/names"
    put "$incoming/page" "$nginx_files/$backend.html" || :
    nginx_shares
    # Whoever is known keeps his share, unless it is the usual one; who is new gets that; who is gone goes.
    awk '{ name = $1; address = $2; port = $3; weight = $4; admin = $5; tester = $6 }
        FILENAME == ARGV[1] { was[name] = $2; next }
        FILENAME == ARGV[2] {
            known[name]
            known_admin[name] = admin
            known_tester[name] = tester
            if (!(name in was) || weight != was[name]) own_weight[name] = weight
            next
        }
        name in own_weight { weight = own_weight[name] }
        name in known { admin = known_admin[name]; tester = known_tester[name] }
        { print name, address, port, weight, admin, tester }' "$work/usual" "$work/now" "$incoming/servers" >"$work/shares"
    nginx_render "$work/shares" >"$work/rendered"
    if cmp -s "$work/main" "$config" && cmp -s "$work/site" "$site" && cmp -s "$work/rendered" "$upstreams" &&
        cmp -s "$work/names" "$shared_ports"; then
        start_unit nginx
        return 0
    fi
    for file in "$config" "$site" "$upstreams" "$shared_ports"; do
        if [ -f "$file" ]; then cp -p "$file" "$work/old.${file##*/}"; fi
    done
    # nginx checks only what is in place; what runs reads it at a reload, and that comes after.
    replace_file "$upstreams" <"$work/rendered"
    replace_file "$site" <"$work/site"
    replace_file "$shared_ports" <"$work/names"
    replace_file "$config" <"$work/main"
    chmod 0644 "$config" "$site" "$upstreams" "$shared_ports"
    if ! nginx -t -q 2>"$work/said"; then
        for file in "$config" "$site" "$upstreams" "$shared_ports"; do
            if [ -f "$work/old.${file##*/}" ]; then replace_file "$file" <"$work/old.${file##*/}" && chmod 0644 "$file"; else rm -f "$file"; fi
        done
        fail balancer "nginx does not accept the configuration: $(grep -m 1 emerg "$work/said" || tail -n 1 "$work/said")"
    fi
    emit changed "wrote $config and $site"
    nginx_reload
    start_unit nginx
}

# nginx_names: prints who answers for names that are nobody's, at ports that applications share by their host names.
nginx_names() {
    for part in "$incoming"/parts/*.site; do
        [ -z "$(names_of "$part")" ] || sed -n 's/^    listen \([0-9]*\)\( ssl\)\{0,1\}.*;$/\1\2/p' "$part"
    done | sort -u | while read -r port tls; do
        if [ -n "$tls" ]; then
            printf 'server {\n    listen %s ssl http2 default_server;\n    ssl_reject_handshake on;\n}\n' "$port"
        else
            printf 'server {\n    listen %s default_server;\n    return 421;\n}\n' "$port"
        fi
    done
}
