# shellcheck shell=sh
# facts HOME STATE: what a host has and runs. Changes nothing.
home=$1
state=$2

# Every program started here is paid for on every host at every task: what the shell can do itself, it does.
# shellcheck source=/dev/null
. /etc/os-release
systemd=0
manager=unknown
while IFS='=' read -r key value; do
    case $key in
        Version) systemd=${value%%[!0-9]*} ;;
        SystemState) manager=$value ;;
    esac
done <<EOF
$(systemctl show --property=Version,SystemState)
EOF
emit system "${PRETTY_NAME:-unknown}" "$systemd" "$(date +%s)"
emit manager "$manager"
total=0
free=0
while read -r key value _; do
    case $key in
        MemTotal:) total=$value ;;
        MemAvailable:) free=$value && break ;;
    esac
done </proc/meminfo
emit memory "$total" "$free"

# The nearest folder that exists: a new host has none of ours yet.
existing() {
    place=$1
    while [ ! -d "$place" ]; do place=${place%/*} place=${place:-/}; done
}
# A file system that is mounted read-only, or that turned so after an error, is not writable to root either.
writable() { if [ -w "$1" ]; then echo yes; else echo no; fi; }
existing "$home"
of_home=$place
existing "$state"
of_state=$place
df -k --output=size,avail,itotal,iavail "$of_home" "$of_state" |
    awk -v home="$home" -v state="$state" -v h="$(writable "$of_home")" -v s="$(writable "$of_state")" '
        NR == 1 { next }
        {
            path = NR == 2 ? home : state
            print "disk\t" path "\t" $1 "\t" $2 "\t" (NR == 2 ? h : s)
            if ($3 ~ /^[0-9]+$/) print "inodes\t" path "\t" $3 "\t" $4
        }'

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
    [ ! -f "$release/.slipway/predecessor" ] || read -r before <"$release/.slipway/predecessor" || :
    about={}
    [ ! -f "$release/.slipway/release.json" ] || read -r about <"$release/.slipway/release.json" || :
    emit release "$name" "$stand" "$before" "$about"
done

for backup in "$state"/backups/*.json; do
    if [ -f "$backup" ] && read -r line <"$backup"; then emit backup "$line"; fi
done
[ ! -s "$state/backup.failed" ] || emit unbacked "$(cat "$state/backup.failed")"
[ ! -f "$state/verified.json" ] || emit verified "$(cat "$state/verified.json")"
held=no
[ ! -s "$state/lock" ] || flock --shared --nonblock "$state/lock" true || held=yes
if [ "$held" = yes ]; then
    read -r holder <"$state/lock" || :
    emit lock "$holder"
elif [ -s "$state/lock" ] || [ -s "$state/interrupted" ]; then
    # Who let the lock go in peace left the file empty. See lock.sh.
    { read -r holder && read -r _ && read -r _ _ kind; } 2>/dev/null <"$state/lock" || kind=
    if [ "$kind" != changes ] && [ -s "$state/interrupted" ]; then read -r holder <"$state/interrupted" || :; fi
    emit interrupted "$holder"
fi
for marker in armed firing stuck; do
    [ -e "$state/guard/$marker" ] || continue
    why=
    [ ! -f "$state/guard/why" ] || read -r why <"$state/guard/why" || :
    emit guard "$marker" "$(cat "$state/guard/id")" "$(cat "$state/guard/target")" "$(cat "$state/guard/seconds")" "$why"
done
# The last switch: whose, from where, to where.
if [ -s "$state/moved" ]; then
    read -r id from to <"$state/moved" || :
    emit moved "$id" "$from" "$to"
fi
[ ! -s "$state/ledger" ] || emit ledger "$(tail -n 1 "$state/ledger")"
