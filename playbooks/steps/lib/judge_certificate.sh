# shellcheck shell=sh disable=SC2034,SC2154
# judge_certificate FILE KEY NAME...: whether the user's own certificate is fit (D1). Sets problem to a sentence, empty when it
# is, and grave to yes where clients are turned away by it, no where it only ends soon. Needs least_days.
judge_certificate() {
    problem='' grave=yes
    file=$1 key=$2
    shift 2
    # HAProxy looks there by itself.
    if [ "$key" = "$file" ] && [ -f "$file.key" ] && ! grep -qs 'PRIVATE KEY' "$file"; then key=$file.key; fi
    if [ ! -f "$file" ]; then
        problem="there is no certificate $file on this host; put it there"
    elif ! dates=$(openssl x509 -in "$file" -noout -dates 2>/dev/null); then
        problem="$file is no certificate in PEM form"
    elif [ "$(openssl pkey -in "$key" -pubout 2>/dev/null)" != "$(openssl x509 -in "$file" -noout -pubkey)" ]; then
        problem="$key does not have the private key of the certificate $file"
    else
        from=${dates#notBefore=}
        from=${from%%"$newline"*}
        until=${dates#*notAfter=}
        for name in "$@"; do
            openssl x509 -in "$file" -noout -checkhost "$name" | grep -q 'does match' ||
                problem="the certificate $file is not for $name, so clients refuse it there; get one for that name, or mend slipway_balancer.tls.names"
        done
        if [ "$(date -d "$from" +%s)" -gt "$(date +%s)" ]; then
            problem="the certificate $file is valid from $from only"
        elif ! openssl x509 -in "$file" -noout -checkend 0 >/dev/null; then
            problem="the certificate $file has expired, $until; renew it"
        elif [ -z "$problem" ] && ! openssl x509 -in "$file" -noout -checkend "$((least_days * 86400))" >/dev/null; then
            grave=no
            problem="the certificate $file is valid until $until only, less than $least_days days; renew it"
        fi
    fi
}
