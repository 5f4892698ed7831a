# shellcheck shell=sh
# facts HOME STATE: what a host has and runs. Changes nothing.
home=$1
state=$2

# shellcheck source=/dev/null
. /etc/os-release
emit system "${PRETTY_NAME:-unknown}" "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" "$(date +%s)"
emit manager "$(systemctl is-system-running 2>/dev/null || :)"
awk '/^MemTotal:/ { total = $2 } /^MemAvailable:/ { free = $2 } END { print "memory\t" total "\t" free }' /proc/meminfo

# The nearest folder that exists: a new host has none of ours yet.
disk() {
    place=$1
    while [ ! -d "$place" ]; do place=$(dirname "$place"); done
    writable=no
    if probe=$(mktemp "$place/.slipway-probe.XXXXXX" 2>/dev/null); then
        rm -f "$probe"
        writable=yes
    fi
    df -Pk "$place" | awk -v p="$1" -v w="$writable" 'NR == 2 { print "disk\t" p "\t" $2 "\t" $4 "\t" w }'
    df -Pi "$place" | awk -v p="$1" 'NR == 2 { print "inodes\t" p "\t" $2 "\t" $4 }'
}
disk "$home"
disk "$state"

for tool in restic zstd curl jq; do
    if command -v "$tool" >/dev/null; then emit tool "$tool" yes; else emit tool "$tool" no; fi
done

if [ -L "$home/current" ]; then
    current=$(readlink "$home/current")
    # A symlink is made at the switch: its time is since when.
    emit current "${current##*/}" "$(stat -c %Y "$home/current")"
    if [ -f "$home/current/.slipway/units" ]; then
        # One call for all units; a blank line between them.
        xargs -r systemctl show --property=Id,ActiveState,SubState,NRestarts,ActiveEnterTimestamp \
            <"$home/current/.slipway/units" |
            awk -F= '
                function row() { if (id != "") print "unit\t" id "\t" active "\t" sub_ "\t" restarts "\t" since; id = "" }
                $1 == "Id" { id = $2 } $1 == "ActiveState" { active = $2 } $1 == "SubState" { sub_ = $2 }
                $1 == "NRestarts" { restarts = $2 } $1 == "ActiveEnterTimestamp" { since = $2 }
                $0 == "" { row() } END { row() }'
    fi
fi

for release in "$home"/releases/*/; do
    [ -d "$release" ] || continue
    name=${release%/}
    name=${name##*/}
    stand=partial
    [ ! -f "$release/.slipway/complete" ] || stand=staged
    [ ! -f "$release/.slipway/proven" ] || stand=proven
    [ ! -f "$release/.slipway/failed" ] || stand=failed
    before=
    [ ! -f "$release/.slipway/predecessor" ] || before=$(cat "$release/.slipway/predecessor")
    about={}
    [ ! -f "$release/.slipway/release.json" ] || about=$(cat "$release/.slipway/release.json")
    emit release "$name" "$stand" "$before" "$about"
done

for backup in "$state"/backups/*.json; do
    [ ! -f "$backup" ] || emit backup "$(cat "$backup")"
done
[ ! -f "$state/verified.json" ] || emit verified "$(cat "$state/verified.json")"
if [ -f "$state/lock" ] && ! flock -s -n "$state/lock" true; then
    emit lock "$(cat "$state/lock")"
fi
[ ! -s "$state/ledger" ] || emit ledger "$(tail -n 1 "$state/ledger")"
