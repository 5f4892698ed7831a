# shellcheck shell=sh disable=SC2154
# A remote shell runs one request after another, so that a step costs one round trip, and no login, sudo or unit of its own.
#
# A request is "BYTES PAYLOAD MARK", then BYTES of a script with its arguments, then PAYLOAD bytes for its standard input. The
# answer is the script's output, then the mark, on both streams, with the status and the times on the first. The shell ends
# with the first request that fails: later requests must not run, and part of the payload may not have been read. PAYLOAD "-"
# is for a script that keeps the shell: it reads all that comes from then on.
# The shell starts itself again with a clean environment: PAM, sudo (env_keep), a login shell or systemd
# (DefaultEnvironment=) may set variables, different on each host, and a proxy among them would answer health checks.
[ "${SLIPWAY_LINE:-}" = clean ] ||
    exec env -i SLIPWAY_LINE=clean PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
        HOME=/root /bin/sh -c "$slipway"
while read -r bytes payload mark; do
    text=$(head -c "$bytes")
    # If the connection breaks while a script is sent, the part that arrived must not run.
    case $text in *'# whole') ;; *) exit 125 ;; esac
    if [ "$payload" = - ]; then
        eval "$text"
        exit
    fi
    # The time comes from /proc/uptime, because reading it starts no program.
    read -r began _ </proc/uptime
    if [ "$payload" = 0 ]; then
        (eval "$text") </dev/null
        status=$?
    else
        head -c "$payload" | (eval "$text")
        status=$?
    fi
    read -r ended _ </proc/uptime
    printf '\n%s\n' "$mark" >&2
    printf '\n%s %s %s %s\n' "$mark" "$status" "$began" "$ended"
    [ "$status" = 0 ] || exit "$status"
done
# whole
