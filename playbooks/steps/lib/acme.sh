# shellcheck shell=sh disable=SC2034,SC2154
# Certificates that the user does not put on this host: they come from a secret, or from an authority by ACME. Only root can
# read them, and balancers do so before they give up root's rights. Needs app, kind, acme, email, certificate (the file),
# certificate_key and incoming (a private folder of this step).
# include output.sh
#
# Only root can listen below port 1024. At another port any user of this host could answer the authority, and get a certificate
# for the names.
acme_port=342

# place_certificate: write certificate and key from standard input to their file. A balancer reads them at its next reload.
place_certificate() {
    mkdir -p "${certificate%/*}"
    chmod 0700 "${certificate%/*}"
    (umask 077 && cat >"$certificate.coming")
    if cmp -s "$certificate.coming" "$certificate"; then
        rm -f "$certificate.coming"
        return 0
    fi
    mv -f "$certificate.coming" "$certificate"
    renewed=yes
    emit changed "wrote $certificate"
}

# hold_place: if there is no certificate, write one that nobody trusts. A balancer without a certificate does not start, and
# then does not let the authority in.
hold_place() {
    [ ! -s "$certificate" ] || return 0
    openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj '/CN=waiting for a certificate' \
        -keyout "$incoming/key" -out "$incoming/certificate" 2>"$incoming/said" ||
        fail certificate "openssl makes no certificate: $(tail -n 1 "$incoming/said")"
    cat "$incoming/certificate" "$incoming/key" >"$incoming/both"
    place_certificate <"$incoming/both"
}

# get_certificate NAME...: get a certificate from the authority, if the present one is not from there or not for these names.
# certbot answers the authority on loopback, to which the balancer forwards it.
get_certificate() {
    hook=/etc/letsencrypt/renewal-hooks/deploy/slipway
    mkdir -p "${hook%/*}"
    acme_hook >"$incoming/hook"
    if ! cmp -s "$incoming/hook" "$hook"; then
        replace_file "$hook" <"$incoming/hook"
        chmod 0755 "$hook"
        emit changed "wrote $hook"
    fi
    printf '%s\n' "$kind" >"$incoming/kind"
    cmp -s "$incoming/kind" "${certificate%.pem}.balancer" || replace_file "${certificate%.pem}.balancer" <"$incoming/kind"
    renew_here
    judge_certificate "$certificate" "$certificate_key" "$@"
    if [ -n "$problem" ] || ! grep -qsxF "server = $acme" "/etc/letsencrypt/renewal/slipway-$app.conf"; then
        ask_authority "$@"
    fi
    if ! systemctl is-active --quiet certbot.timer; then
        systemctl enable --quiet --now certbot.timer ||
            fail certificate 'certbot.timer does not start, and nothing would renew the certificate'
        emit changed 'started certbot.timer, which renews certificates'
    fi
}

# renew_here: move certificates from before December 2026 to this port, because nothing is forwarded to their port any more.
# With HAProxy, applications share the way to certbot, so those of all applications are moved.
renew_here() {
    for conf in /etc/letsencrypt/renewal/slipway-*.conf; do
        grep -qs '^http01_port = ' "$conf" || continue
        ! grep -qx "http01_port = $acme_port" "$conf" || continue
        [ "$kind" = haproxy ] || [ "${conf##*/}" = "slipway-$app.conf" ] || continue
        sed "s/^http01_port = .*/http01_port = $acme_port/" "$conf" >"$incoming/renewal"
        replace_file "$conf" <"$incoming/renewal"
        emit changed "certbot answers at port $acme_port"
    done
}

# no_certificate: end the step, and say why certbot got none. If certbot cannot ask an authority at all, it prints names of
# Python classes, so sentences replace these.
no_certificate() {
    acme_why=
    acme_server=${acme#*://}
    acme_server=${acme_server%%/*}
    if grep -q '^requests\.exceptions\.' "$incoming/said"; then
        acme_why="this host cannot ask $acme_server; does curl --head $acme work there?"
        case $(cat "$incoming/said") in
            *CERTIFICATE_VERIFY_FAILED*) acme_why="this host does not trust the certificate of $acme_server; put that of its authority into /usr/local/share/ca-certificates, and run update-ca-certificates" ;;
            *'ame or service not known'* | *'name resolution'*) acme_why="this host finds no address for the name in $acme_server; is slipway_balancer.tls.acme.server right, and its DNS?" ;;
            *'Connection refused'*) acme_why="$acme_server refuses the connection from this host; is slipway_balancer.tls.acme.server right?" ;;
            *'timed out'*) acme_why="$acme_server does not answer this host; does a firewall let it out?" ;;
        esac
        fail certificate "no certificate from $acme: $acme_why Until there is one, clients are shown one that they refuse; then provision again"
    fi
    tell_output "$(grep -v 'Saving debug log\|Ask for help\|Requesting a\|^Some challenges\|^- - -' "$incoming/said")"
    fail certificate "no certificate from $acme${last_line:+: ${last_line%.}}. Until there is one, clients are shown one that they refuse; correct that and provision again. All that it said: /var/log/letsencrypt/letsencrypt.log on this host"
}

# ask_authority NAME...: get a certificate with certbot.
ask_authority() {
    note "getting a certificate from $acme"
    contact=--register-unsafely-without-email
    [ "$email" = - ] || contact=--email=$email
    for name in "$@"; do
        set -- "$@" "--domain=$name"
        shift
    done
    # Not --quiet, because then certbot would not say why it failed.
    certbot certonly --non-interactive --agree-tos "$contact" "--server=$acme" "--cert-name=slipway-$app" \
        --force-renewal --renew-with-new-domains --standalone --http-01-address=127.0.0.1 "--http-01-port=$acme_port" "$@" >"$incoming/said" 2>&1 ||
        no_certificate
    RENEWED_LINEAGE=/etc/letsencrypt/live/slipway-$app "$hook" ||
        fail certificate "$kind does not take up the new certificate; see: journalctl -u $kind"
    emit changed "got a certificate from $acme"
}

# forget_authority: certbot stops renewing a certificate for an application that has one from elsewhere by now.
forget_authority() {
    rm -f "/etc/ssl/slipway/$app.balancer"
    [ -e "/etc/letsencrypt/renewal/slipway-$app.conf" ] || return 0
    certbot delete --non-interactive "--cert-name=slipway-$app" >"$incoming/said" 2>&1 ||
        fail_showing certificate "certbot does not let go of slipway-$app" "$(cat "$incoming/said")"
    emit changed "certbot renews slipway-$app no more"
}

# acme_hook: print the script that certbot runs after it has renewed a certificate. PLACE.balancer is removed when the
# application has its certificate from elsewhere.
acme_hook() {
    # Lines of comments are not sent (fleet/script.py), so these two cannot be in the text below.
    printf '%s\n' '#!/bin/sh' \
        '# Made by Slipway: hands certificates that certbot has renewed to the balancer, which loses no request.'
    cat <<'EOF'
set -eu
umask 077
name=${RENEWED_LINEAGE##*/}
case $name in
    slipway-*) ;;
    *) exit 0 ;;
esac
place=/etc/ssl/slipway/${name#slipway-}
[ -f "$place.balancer" ] || exit 0
cat "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" >"$place.pem.coming"
mv -f "$place.pem.coming" "$place.pem"
systemctl reload "$(cat "$place.balancer")"
EOF
}
