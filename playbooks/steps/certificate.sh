# shellcheck shell=sh disable=SC2154
# certificate: how a balancer's certificate stands, the one that lies there and the one that clients get. Changes nothing.
# needs: unit port certificate certificate_key least_days user
# words: NAME...: the names that it has to be for
#
# certificate fit | soon SENTENCE | bad SENTENCE

# include judge_certificate.sh
# include programs.sh

require_programs "$user"
need openssl
judge_certificate "$certificate" "$certificate_key" "$@"
if [ "$grave" = yes ] && [ -n "$problem" ]; then
    emit certificate bad "$problem"
    exit 0
fi
served=$(timeout 5 openssl s_client -connect "127.0.0.1:$port" -servername "${1:-localhost}" </dev/null 2>/dev/null |
    openssl x509 -noout -fingerprint -sha256 2>/dev/null) || served=
if [ -z "$served" ]; then
    emit certificate bad "nothing answers by TLS at port $port; see: journalctl -u $unit, or run: invoke provision --env=…"
elif [ "$served" != "$(openssl x509 -in "$certificate" -noout -fingerprint -sha256)" ]; then
    emit certificate bad "clients get another certificate at port $port than $certificate; if that was renewed: systemctl reload $unit"
elif [ -n "$problem" ]; then
    emit certificate soon "$problem"
else
    emit certificate fit ''
fi
