# shellcheck shell=sh disable=SC2154
# provision_haproxy: the configuration in $incoming/config, once HAProxy has accepted it.
provision_haproxy() {
    config=/etc/haproxy/haproxy.cfg
    [ -d "$haproxy_files" ] || mkdir -m 0755 "$haproxy_files"
    [ -e "$haproxy_files/maintenance.map" ] || printf '%s off\n' "$backend" >"$haproxy_files/maintenance.map"
    chmod 0644 "$haproxy_files/maintenance.map"
    [ -e "$haproxy_saved" ] || : >"$haproxy_saved"
    # The page is read when the configuration is.
    page_new=no
    ! put "$incoming/page" "$haproxy_files/$backend.html" || page_new=yes
    coming=/etc/haproxy/.haproxy.cfg.coming
    trap 'rm -rf "$incoming" "$work" "$coming"' EXIT
    cat "$incoming/config" >"$coming"
    said=$(haproxy -c -q -f "$coming" 2>&1) ||
        fail balancer "HAProxy does not accept the configuration: $(printf '%s' "$said" | grep -i alert | head -n 3 | sed "s|$coming|haproxy.cfg|g" | tr '\n' ' ')"
    config_new=no
    if ! cmp -s "$coming" "$config"; then
        haproxy_forget_moved "$coming"
        config_new=yes
        put "$coming" "$config" || :
    fi
    if [ "$config_new$page_new" != nono ] && systemctl is-active --quiet haproxy; then
        systemctl reload haproxy || fail balancer 'HAProxy does not reload; see: journalctl -u haproxy'
    fi
    start_unit haproxy
}

# haproxy_forget_moved CONFIG: what is saved of a server brings back its old address and port, so it goes when those change.
haproxy_forget_moved() {
    if [ -S "$socket" ] && (haproxy_save) >/dev/null 2>&1; then :; fi
    awk 'FILENAME == ARGV[1] { if ($1 == "server") at[$2 "," $3]; next }
        NF < 19 || /^#/ || (($4 "," $5 ":" $19) in at) || (($4 "," $18 ":" $19) in at) || (($4 ",[" $5 "]:" $19) in at)' \
        "$1" "$haproxy_saved" >"$work/kept"
    cmp -s "$work/kept" "$haproxy_saved" || replace_file "$haproxy_saved" <"$work/kept"
}
