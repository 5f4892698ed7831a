# shellcheck shell=sh disable=SC2154
# A line: one request after another, so that a step costs one round trip, and no login, sudo or unit of its own.
#
# A request is "BYTES PAYLOAD MARK", then that many bytes of a script with its arguments, then what it is to read. The
# answer is what the script says, then its mark, its status and its time on both streams. A line ends with the first
# request that fails: what was sent after it must not be done, and not all of its payload may have been read. PAYLOAD "-" is
# for a script that keeps the line: it reads what comes from then on, and ends it.
# It begins once more, with an environment of its own: what PAM, sudo (env_keep), a login shell or systemd
# (DefaultEnvironment=) bring is another one on each host and each way in, and a proxy in it would answer our checks.
[ "${SLIPWAY_LINE:-}" = clean ] ||
    exec env -i SLIPWAY_LINE=clean PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
        HOME=/root /bin/sh -c "$slipway"
while read -r bytes payload mark; do
    text=$(head -c "$bytes")
    # A connection that breaks while a script is sent must not run the part that came.
    case $text in *'# whole') ;; *) exit 125 ;; esac
    if [ "$payload" = - ]; then
        eval "$text"
        exit
    fi
    # /proc/uptime, since reading it starts no program.
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
