# shellcheck shell=sh disable=SC2154
# facts: what a host has and runs. Changes nothing.
# needs: home state seen format
#
# seen: "OFFSET LENGTH PREV-HASH" of the newest ledger record that the controller knows, or "-".

# include format.sh
# include find_current.sh
# include names.sh
# include own_release.sh
# include root_only.sh
# include slots.sh

require_format "$state" "$format"

# Read the token first: if the lock that we take later has the next number, no task ran in between, and these facts hold
# (Facts.holds_for).
token=0
[ ! -s "$state/token" ] || read -r token <"$state/token" || :
case $token in '' | *[!0-9]*) token=0 ;; esac
held=no
[ ! -s "$state/lock" ] || flock --shared --nonblock "$state/lock" true || held=yes

# Every program that is started costs time on every host in every task, so the shell does what it can.
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
clock=$(date +%s)
emit system "${PRETTY_NAME:-unknown}" "$systemd" "$clock"
emit manager "$manager"
if [ "$manager" = degraded ]; then
    systemctl list-units --failed --plain --no-legend --no-pager | head -n 8 | while read -r unit _; do emit failed "$unit"; done
fi
emit token "$token"
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
h=$(writable "$of_home")
s=$(writable "$of_state")
path=
while read -r size free nodes nodes_free; do
    case $size in *[!0-9]*) continue ;; esac
    if [ -z "$path" ]; then path=$home can=$h; else path=$state can=$s; fi
    emit disk "$path" "$size" "$free" "$can"
    case $nodes in '' | *[!0-9]*) ;; *) emit inodes "$path" "$nodes" "$nodes_free" ;; esac
done <<EOF
$(df -k --output=size,avail,itotal,iavail "$of_home" "$of_state")
EOF

# What root runs lies here: whoever can change the way to it is root.
if ! are_roots "$home" "$home/releases" "$home/shared" "$state"; then
    for place in "$home" "$home/releases" "$home/shared" "$state"; do
        find_foreign "$place"
        [ -n "$foreign" ] || continue
        mode=$(stat -c '%A' "$foreign")
        ! gives_away "$foreign" || mode=$mode+
        emit foreign "$foreign" "$(stat -c '%U' "$foreign")" "$mode"
    done
fi

# Nothing is run here.
system_path=$PATH
PATH=$settings_path
for tool in restic zstd curl jq getfattr setfattr; do
    if command -v "$tool" >/dev/null; then emit tool "$tool" yes; else emit tool "$tool" no; fi
done
PATH=$system_path

# show_units TAG UNIT...: ask systemd about all units in one call. Its answer has a blank line between units; one more is
# added after the last. systemd gives the time of activation in microseconds of uptime, 0 for never. btime (the time of the
# boot) is constant; now minus uptime would differ by a second from call to call.
show_units() {
    tag=$1
    shift
    booted=$(sed -n 's/^btime //p' /proc/stat)
    id='' active='' sub='' restarts=0 since=0
    while IFS='=' read -r key value; do
        case $key in
            Id) id=$value ;;
            ActiveState) active=$value ;;
            SubState) sub=$value ;;
            NRestarts) restarts=$value ;;
            ActiveEnterTimestampMonotonic) [ "$value" = 0 ] || since=$((booted + value / 1000000)) ;;
            '')
                [ -z "$id" ] || emit "$tag" "$id" "$active" "$sub" "$restarts" "$since"
                id='' active='' sub='' restarts=0 since=0
                ;;
        esac
    done <<EOF
$(systemctl show --property=Id,ActiveState,SubState,NRestarts,ActiveEnterTimestampMonotonic "$@")

EOF
}

find_current
# Another tool's release, in the same layout.
if [ "$current" != - ] && [ -d "$home/releases/$current" ] && ! is_stamped "$current" &&
    [ "$(cd -P "$home/current" && pwd)" = "$(cd -P "$home/releases" && pwd)/$current" ]; then
    emit foreign_release "$current"
    current=-
fi
if [ "$current" != - ]; then
    # A symlink is made at the switch: its time is since when.
    emit current "$current" "$(stat -c %Y "$home/current")"
    set --
    if is_own_release "$home/releases/$current" && [ -f "$home/current/.slipway/units" ]; then
        while IFS= read -r unit; do set -- "$@" "$unit"; done <"$home/current/.slipway/units"
    fi
    [ $# -eq 0 ] || show_units unit "$@"
    if [ ! -d "$home/releases/$current/.slipway" ]; then
        find_slot "$current"
        [ -z "$slot" ] || emit lost_slot "$slot"
    fi
elif [ -e "$home/current" ] && [ ! -L "$home/current" ]; then
    emit solid "$(stat -c %F "$home/current")"
fi
for folder in releases shared; do
    { [ ! -e "$home/$folder" ] && [ ! -L "$home/$folder" ]; } || [ -d "$home/$folder" ] || emit no_folder "$folder"
done

slotted=no
for release in "$home"/releases/*/; do
    [ -d "$release" ] || continue
    release=${release%/}
    name=${release##*/}
    if ! is_own_release "$release"; then
        emit release "$name" other '' '{}'
        continue
    fi
    stand=partial
    [ ! -f "$release/.slipway/complete" ] || stand=staged
    [ ! -f "$release/.slipway/proven" ] || stand=proven
    [ ! -f "$release/.slipway/failed" ] || stand=failed
    [ ! -f "$release/.slipway/slot" ] || slotted=yes
    before=
    [ ! -f "$release/.slipway/predecessor" ] || read -r before <"$release/.slipway/predecessor" || :
    about={}
    [ ! -f "$release/.slipway/release.json" ] || read -r about <"$release/.slipway/release.json" || :
    emit release "$name" "$stand" "$before" "$about"
    [ ! -f "$release/.slipway/ran-once" ] || emit ran_once "$name"
done
if [ "$slotted" = yes ]; then
    set --
    for file in $(units_in_slots); do
        if [ "${file%/*}" != "$current" ] && [ "${file%.service}" != "$file" ]; then
            idle=${file%/*}
            set -- "$@" "${file##*/}"
        fi
    done
    if [ $# -gt 0 ]; then
        read_slot "$home/releases/$idle"
        until=
        [ ! -f "$state/idle/$slot/arguments" ] || { read -r _ && read -r _ && read -r until; } <"$state/idle/$slot/arguments" || :
        emit idle "$slot" "$idle" "$until"
        show_units idle_unit "$@"
    fi
fi

if [ -f "$state/idle/all-units/arguments" ]; then
    { read -r _ && read -r _ && read -r until; } <"$state/idle/all-units/arguments" || until=
    [ -z "$until" ] || emit kept "$until"
elif [ -f "$state/idle/stopped" ]; then
    emit kept 0
fi

for backup in "$state"/backups/*.json; do
    if [ -f "$backup" ] && read -r line <"$backup"; then emit backup "$line"; fi
done
[ ! -s "$state/backup.failed" ] || emit unbacked "$(cat "$state/backup.failed")"
[ ! -f "$state/verified.json" ] || emit verified "$(cat "$state/verified.json")"
if [ "$held" = yes ]; then
    read -r holder <"$state/lock" || :
    emit lock "$holder"
elif [ -s "$state/lock" ] || [ -s "$state/interrupted" ]; then
    # Who let the lock go in peace left the file empty. See lock.sh.
    { read -r holder && read -r _ && read -r _ _ kind; } 2>/dev/null <"$state/lock" || kind=
    if [ "$kind" != changes ] && [ -s "$state/interrupted" ]; then read -r holder <"$state/interrupted" || :; fi
    emit interrupted "$holder"
    # What its guard has done is among the last records.
    [ ! -s "$state/ledger" ] || {
        fired=$(tail -n 20 "$state/ledger" | grep -F '"task": "guard"' | tail -n 1) || :
        [ -z "$fired" ] || emit fired "$fired"
    }
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
if [ -s "$state/ledger" ]; then
    # A torn line has no newline.
    last=$(tail -n 1 "$state/ledger" && echo .)
    case $last in
        *"$newline.") emit ledger "${last%"$newline."}" whole ;;
        *) emit ledger "${last%.}" torn ;;
    esac
    # The known record may not be the last line any more. Send it, so that the controller sees that it is still there.
    if [ "$seen" != - ]; then
        length=${seen#* }
        case $last in
            "{\"prev\":\"${length#* }\""*) ;;
            *) emit seen "$(tail -c "+$((${seen%% *} + 1))" "$state/ledger" | head -c "${length%% *}")" ;;
        esac
    fi
fi
