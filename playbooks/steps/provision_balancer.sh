# shellcheck shell=sh disable=SC2034,SC2154
# provision_balancer KIND STATE BACKEND SOCKET PATH HOST USER SHARED-BYTES CONFIG-BYTES PAGE-BYTES PEM-BYTES
#     PORTS NAMES PACKAGES ACME EMAIL [CERTIFICATE KEY LEAST-DAYS NAME...]
#
# Make a balancer with what all applications on the host share (empty if a template of the user's own replaces it), this
# application's configuration, the maintenance page, a certificate if that is a secret, and the servers. These come one after
# another on standard input. ACME is the authority's directory, or "-"; EMAIL is the address to which it may write, or "-". A
# bad configuration never replaces a good one. Shares, disabled servers and the maintenance page stay as they are, and so do
# other applications.

# include output.sh
# include packages.sh
# include balancer.sh
# include shared_balancer.sh
# include judge_certificate.sh
# include acme.sh
# include provision_haproxy.sh
# include provision_nginx.sh

incoming=$(private_folder)
trap 'rm -rf "$incoming"' EXIT
head -c "$8" >"$incoming/shared"
head -c "$9" >"$incoming/config"
head -c "${10}" >"$incoming/page"
(umask 077 && head -c "${11}" >"$incoming/pem")
cat >"$incoming/servers"
[ "$(cat "$incoming/shared" "$incoming/config" "$incoming/page" "$incoming/pem" | wc -c)" -eq "$(($8 + $9 + ${10} + ${11}))" ] ||
    fail cut 'the configuration did not arrive whole'

# put FILE PATH: replace PATH by FILE if they differ; false if they do not.
put() {
    ! cmp -s "$1" "$2" || return 1
    replace_file "$2" <"$1"
    chmod 0644 "$2"
    emit changed "wrote $2"
}

# why_not: print the lines of a log that name an error, or else its last ones.
why_not() {
    cat >"$incoming/log"
    grep -i 'emerg\|alert' "$incoming/log" || tail -n 12 "$incoming/log"
}

# usual_weights: write a line into $work/usual for each server whose usual weight has changed since the last provision: NAME
# BEFORE NOW. A server without an earlier weight had 256.
usual_weights() {
    [ ! -f "$state/weights" ] || cp "$state/weights" "$work/weights"
    touch "$work/weights"
    awk 'FILENAME == ARGV[1] { was[$1] = $2; next } { old = $1 in was ? was[$1] : 256; if (old != $4) print $1, old, $4 }' \
        "$work/weights" "$incoming/servers" >"$work/usual"
}

# keep_usual_weights: a server that had its usual weight gets the new one. STATE/traffic gets it too, so that status does not
# report the change as one by hand.
keep_usual_weights() {
    awk '{ print $1, $4 }' "$incoming/servers" | sort >"$work/weights"
    mkdir -p "$state"
    cmp -s "$work/weights" "$state/weights" || replace_file "$state/weights" <"$work/weights"
    if [ ! -s "$work/usual" ] || [ ! -f "$state/traffic" ]; then return 0; fi
    awk 'FILENAME == ARGV[1] { was[$1] = $2; is[$1] = $3; next } $1 in was && $4 == was[$1] { $4 = is[$1] } { print }' \
        "$work/usual" "$state/traffic" >"$work/traffic"
    cmp -s "$work/traffic" "$state/traffic" || replace_file "$state/traffic" <"$work/traffic"
}

# start_unit UNIT
start_unit() {
    ! systemctl is-active --quiet "$1" || return 0
    systemctl enable --quiet --now "$1" 2>/dev/null ||
        fail_showing balancer "$1 does not start" "$(journalctl --unit="$1" --lines=30 --output=cat --no-pager | why_not)"
    emit changed "started $1"
}

kind=$1 state=$2 backend=$3 socket=$4 path=$5 health_host=$6 user=$7
shift 11
ports=$1 names=$2 packages=$3 acme=$4 email=$5
shift 5
app=${state##*/}
# shellcheck disable=SC2086
want_packages $packages
balancer "$kind" "$state" "$backend" "$socket" "$path" "$health_host" "$user"
trap 'rm -rf "$incoming" "$work"' EXIT
renewed=no
place=${1:-}
if [ "$acme" != - ]; then
    hold_place "$place"
elif [ "$#" -gt 0 ]; then
    if [ -s "$incoming/pem" ]; then
        # The new certificate is judged before it replaces the one that serves.
        shift 2
        judge_certificate "$incoming/pem" "$incoming/pem" "$@"
        problem=$(printf '%s' "$problem" | sed "s|$incoming/pem|of slipway_balancer.tls.secret|g")
    else
        judge_certificate "$@"
    fi
    [ -z "$problem" ] || fail certificate "$problem"
    forget_authority
    [ ! -s "$incoming/pem" ] || place_certificate "$place" <"$incoming/pem"
else
    forget_authority
fi
usual_weights
"provision_$kind"
keep_usual_weights
if [ "$acme" != - ]; then
    get_certificate "$@"
elif [ "$renewed" = yes ]; then
    systemctl reload "$kind" || fail certificate "$kind does not take up the new certificate; see: journalctl -u $kind"
fi
emit provisioned
