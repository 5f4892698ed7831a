# shellcheck shell=sh disable=SC2034,SC2154
# provision_balancer: make a balancer with this application's part of its configuration, a maintenance page and a certificate.
# needs: app kind state backend socket ports names packages user
# needs: shared_bytes config_bytes page_bytes pem_bytes acme email certificate certificate_key least_days
# words: NAME...: the names that the certificate has to be for
#
# Standard input, each of so many bytes: what all applications on the host share (empty if a template of the user's own
# replaces it), this application's configuration, the maintenance page, and a certificate if that is a secret; then the
# servers. acme is the authority's directory, or "-"; email is the address to which it may write, or "-". certificate is the
# certificate's file, empty if clients do not speak TLS. A bad configuration never replaces a good one. Shares, disabled servers
# and the maintenance page stay as they are, and so do other applications.

# include packages.sh
# include balancer.sh
# include put.sh
# include usual_weights.sh
# include shared_balancer.sh
# include judge_certificate.sh
# include acme.sh
# include provision_haproxy.sh
# include provision_nginx.sh

# receive_files: write what arrives into files in $incoming: shared, config, page, pem, servers.
receive_files() {
    incoming=$(private_folder)
    trap 'rm -rf "$incoming"' EXIT
    head -c "$shared_bytes" >"$incoming/shared"
    head -c "$config_bytes" >"$incoming/config"
    head -c "$page_bytes" >"$incoming/page"
    (umask 077 && head -c "$pem_bytes" >"$incoming/pem")
    cat >"$incoming/servers"
    came=$(cat "$incoming/shared" "$incoming/config" "$incoming/page" "$incoming/pem" | wc -c)
    [ "$came" -eq "$((shared_bytes + config_bytes + page_bytes + pem_bytes))" ] || fail cut 'the configuration did not arrive whole'
}

# prepare_certificate NAME...: what has to be there before the balancer reads its configuration. The user's own certificate is
# judged before it replaces the one that serves.
prepare_certificate() {
    renewed=no
    if [ "$acme" != - ]; then
        hold_place
        return 0
    fi
    if [ -s "$incoming/pem" ]; then
        judge_certificate "$incoming/pem" "$incoming/pem" "$@"
        problem=$(printf '%s' "$problem" | sed "s|$incoming/pem|of slipway_balancer.tls.secret|g")
        [ -z "$problem" ] || fail certificate "$problem"
    elif [ -n "$certificate" ]; then
        judge_certificate "$certificate" "$certificate_key" "$@"
        [ -z "$problem" ] || fail certificate "$problem"
    fi
    forget_authority
    [ ! -s "$incoming/pem" ] || place_certificate <"$incoming/pem"
}

# serve_certificate NAME...: what comes after the balancer has read its configuration.
serve_certificate() {
    if [ "$acme" != - ]; then
        get_certificate "$@"
    elif [ "$renewed" = yes ]; then
        systemctl reload "$kind" || fail certificate "$kind does not take up the new certificate; see: journalctl -u $kind"
    fi
}

receive_files
# shellcheck disable=SC2086
want_packages $packages
balancer
trap 'rm -rf "$incoming" "$work"' EXIT
prepare_certificate "$@"
usual_weights
"provision_$kind"
keep_usual_weights
serve_certificate "$@"
emit provisioned
