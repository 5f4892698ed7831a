# shellcheck shell=sh disable=SC2034,SC2154
# Putting a whole cluster of PostgreSQL back to a restore point of pgBackRest. A server that is stopped for it must come up again
# whatever becomes of the controller, this step, or the host's power: so a unit of the host does it, which begins anew after a
# boot until it has come to an end (pgBackRest's --delta goes on with what is there), and goes back by itself if it cannot.

# restore_cluster_runner: print the unit's script. Its folder has the plan: stanza and unit; port and user; point, timeline and
# base backup to go to, and those of what was there before, or "-" for each. It leaves a line in result: "restored", "undone WHY" or
# "down WHY".
restore_cluster_runner() {
    cat <<'RUNNER'
set -u
umask 077
PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd "$1" || exit 1
{ read -r stanza unit && read -r port user && read -r point timeline label && read -r old_point old_timeline old_label; } <plan || exit 1
as_server() { (cd / && exec runuser -u postgres -- "$@" </dev/null); }
go() {
    systemctl stop "$unit"
    as_server pgbackrest --stanza="$stanza" --delta --set="$3" --type=name --target="$1" --target-timeline="$2" --target-action=promote \
        --log-level-console=error --log-level-stderr=off restore >out 2>&1 || return 1
    systemctl reset-failed "$unit" 2>/dev/null
    systemctl start "$unit" >>out 2>&1 || { echo "ERROR: its server does not start, or did not come to restore point $1; see its log" >>out; return 1; }
    while systemctl is-active --quiet "$unit"; do
        [ "$(as_server psql --no-psqlrc --quiet --tuples-only --no-align --port="$port" --username="$user" --no-password --dbname=postgres \
            --command='select pg_catalog.pg_is_in_recovery()' 2>/dev/null)" != f ] || return 0
        sleep 0.3
    done
    echo "ERROR: its server ended before it came to restore point $1; see its log" >>out
    return 1
}
why() { tail -n 3 out | sed 's/^.*ERROR: *//; s/[[:cntrl:]]/ /g' | tr '\n' ' ' | cut -c1-300; }
if [ -e undoing ]; then
    result="undone $(cat undoing)"
    go "$old_point" "$old_timeline" "$old_label" || result="down $(cat undoing); and $(why)"
elif go "$point" "$timeline" "$label"; then
    result=restored
elif [ "$old_point" = - ]; then
    result="down $(why)"
else
    why >undoing
    sync undoing
    result="undone $(cat undoing)"
    go "$old_point" "$old_timeline" "$old_label" || result="down $(cat undoing); and $(why)"
fi
printf '%s\n' "$result" >result.new
sync result.new
mv result.new result
rm -f "$2"
RUNNER
}

# restore_cluster APP FOLDER LIMIT: carry out FOLDER/plan. Sets restore_result to the line that the unit has left; status 1 sets said, if it
# has not ended within LIMIT seconds.
restore_cluster() {
    restore_unit=slipway-restore-$1.service
    restore_link=/etc/systemd/system/multi-user.target.wants/$restore_unit
    rm -f "$2/result"
    restore_cluster_runner >"$2/run"
    printf '%s\n' '[Unit]' "Description=Slipway: restore the database server of $1" "RequiresMountsFor=$2" 'After=network-online.target' \
        '[Service]' Type=oneshot TimeoutStartSec=infinity "ExecStart=/bin/sh $2/run $2 $restore_link" >"/etc/systemd/system/$restore_unit"
    mkdir -p "${restore_link%/*}"
    ln -sfn "/etc/systemd/system/$restore_unit" "$restore_link"
    # By this link it begins anew after a boot. All of it is on disk before the server is stopped.
    sync "$2"/* "$2" "/etc/systemd/system/$restore_unit" /etc/systemd/system "${restore_link%/*}"
    systemctl daemon-reload
    systemctl start --no-block "$restore_unit"
    restore_end=$(($(date +%s) + $3))
    while [ ! -e "$2/result" ]; do
        sleep 0.2
        if [ "$(date +%s)" -ge "$restore_end" ]; then
            said="it goes on in the unit $restore_unit of this host: journalctl --follow --unit=$restore_unit"
            return 1
        fi
        [ "$(systemctl show --property=ActiveState --value "$restore_unit")" = failed ] || continue
        said="its unit $restore_unit was ended; systemctl start $restore_unit goes on with it"
        return 1
    done
    restore_result=$(cat "$2/result")
    while [ "$(systemctl show --property=ActiveState --value "$restore_unit")" = activating ]; do sleep 0.1; done
    rm -f "$restore_link" "/etc/systemd/system/$restore_unit"
    systemctl daemon-reload
}
