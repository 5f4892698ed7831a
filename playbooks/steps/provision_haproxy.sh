# shellcheck shell=sh
# provision_haproxy PACKAGE...: HAProxy with the configuration on standard input. A bad one never replaces a good one.
# include packages.sh

want_packages "$@"
config=/etc/haproxy/haproxy.cfg
coming=/etc/haproxy/.haproxy.cfg.coming
trap 'rm -f "$coming"' EXIT
cat >"$coming"
chmod 0644 "$coming"
said=$(haproxy -c -q -f "$coming" 2>&1) ||
    fail balancer "HAProxy does not accept the configuration: $(printf '%s' "$said" | grep -i alert | head -n 3 | sed "s|$coming|haproxy.cfg|g" | tr '\n' ' ')"
if ! cmp -s "$coming" "$config"; then
    sync "$coming"
    mv -f "$coming" "$config"
    emit changed "wrote $config"
    if systemctl is-active --quiet haproxy; then systemctl reload haproxy; fi
fi
if ! systemctl is-active --quiet haproxy; then
    systemctl enable --quiet --now haproxy 2>/dev/null ||
        fail balancer "HAProxy does not start: $(journalctl --unit=haproxy --lines=3 --output=cat --no-pager | tr '\n' ' ')"
    emit changed 'started haproxy'
fi
emit provisioned
