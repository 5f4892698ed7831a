#!/bin/sh
# keep CGROUP... -- COMMAND...: run a host in control groups of its own, and start it again when it reboots.
#
# Without a group of its own every host's systemd would take the same one for its root: they would see, count and stop
# each other's services. With --keep-unit nspawn ends with 133 when the host rebooted, and leaves the rest to us.
set -u
while [ "$1" != -- ]; do
    mkdir -p "$1"
    echo $$ >"$1/cgroup.procs"
    shift
done
shift
child=
trap 'kill -TERM "$child" 2>/dev/null' TERM
while :; do
    "$@" &
    child=$!
    # A signal ends wait early; the host is still there then.
    while :; do
        wait "$child"
        status=$?
        kill -0 "$child" 2>/dev/null || break
    done
    [ "$status" -eq 133 ] || exit "$status"
done
