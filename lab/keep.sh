#!/bin/sh
# keep RECORD CGROUP... -- COMMAND...: run a host in control groups of its own, and start it again when it reboots.
#
# RECORD gets our process id and start time before the host is started: whoever started us may be killed at any moment,
# and a host that nobody knows of could never be stopped.
# Without a group of its own every host's systemd would take the same one for its root: they would see, count and stop
# each other's services. With --keep-unit nspawn ends with 133 when the host rebooted, and leaves the rest to us.
set -u
record=$1
shift
# One keeper a host, even when a lab.up is killed and the next one comes a moment later.
exec 9>"$record.lock"
flock -n 9 || exit 0
started=$(sed 's/.*) //' "/proc/$$/stat" | cut -d' ' -f20)
echo "$$ $started" >"$record.new"
mv "$record.new" "$record" || exit 1
while [ "$1" != -- ]; do
    mkdir -p "$1"
    echo $$ >"$1/cgroup.procs"
    shift
done
shift
child=
trap 'kill -TERM "$child" 2>/dev/null' TERM
while :; do
    "$@" 9>&- &
    child=$!
    # A signal ends wait early; the host is still there then.
    while :; do
        wait "$child"
        status=$?
        kill -0 "$child" 2>/dev/null || break
    done
    [ "$status" -eq 133 ] || exit "$status"
done
