# shellcheck shell=sh disable=SC2034,SC2154
# exec: run a command in the running release, as its unit would run it.
# needs: home user wanted name
# words: WORD...: the command
#
# wanted: the unit, or "-" for the first one. name: of the unit that the command runs in. Its output comes as lines "out", its
# status as "status" (for a signal 128 and its number, as in shells), then "end". It ends when nobody listens any more.

# include like_unit.sh

find_unit "$wanted"
io=$(private_folder exec)
trap 'rm -rf "$io"' EXIT
# A shell that a signal ends runs no EXIT trap. So signals, such as SIGPIPE when nobody listens any more, lead to exit.
trap 'exit 1' HUP INT TERM PIPE
mkfifo "$io/said"
unit_properties "$user" >"$io/properties"
# systemd would replace $NAME in the command's words, so each $ is doubled.
count=$#
while [ "$count" -gt 0 ]; do
    word=$1
    shift
    case $word in *\$*) word=$(printf '%s.' "$word" | sed 's/\$/$$/g') && word=${word%.} ;; esac
    set -- "$@" "$word"
    count=$((count - 1))
done
# A shell waits for the command, because systemd-run reports a signal only as 255, and SIGTERM as success. systemd sends a
# signal that ends the unit to the command, too, so the shell does nothing about it.
# shellcheck disable=SC2016
set -- --property=OOMPolicy=continue -- /bin/sh -c \
    'trap : HUP INT TERM; exec 3>&2 2>/dev/null; (exec "$$@" 2>&3 3>&-); exit "$$?"' sh "$@"
while IFS= read -r line; do set -- --property="$line" "$@"; done <<END
$(sed '1!G;h;$!d' "$io/properties")
END
emit begun "$current" "${unit:--}"
exec 3<&0
{
    cat <&3 >/dev/null 2>&1 || :
    systemctl stop "$name.service" 2>/dev/null || :
} >/dev/null 2>&1 &
watcher=$!
# sed keeps a whole line in memory, so a line without an end would use all of it. (dash and bash have the option.)
# shellcheck disable=SC3045
(ulimit -v 65536 && exec sed -u "s/^/out$tab/" <"$io/said") &
reader=$!
status=0
systemd-run --quiet --pipe --wait --collect --unit="$name" --property=TimeoutStopSec=10 "$@" >"$io/said" 2>&1 </dev/null 3<&- ||
    status=$?
# The command may have passed its output to a process that still runs.
waits=0
while [ "$waits" -lt 30 ] && kill -0 "$reader" 2>/dev/null; do
    waits=$((waits + 1))
    sleep 0.1
done
kill "$reader" "$watcher" 2>/dev/null || :
# The last line may have no newline at its end.
echo
emit status "$status"
echo end
