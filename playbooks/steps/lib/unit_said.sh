# shellcheck shell=sh disable=SC2034
# The last log lines of a unit that failed.

said_lines=12
said_characters=300
# systemd's messages of these kinds (systemd.journal-fields(7), MESSAGE_ID=).
said_starting=7d4958e842da4a758f6c1cdc7b36dcc5
said_started=39f53479d3a045ac8e11786248231fbf

# unit_said UNIT: set said to the last lines that the application wrote since its last start. If it wrote none, set said to
# systemd's lines about the unit, which say why it could not be started. Each line ends with RS (\036).
unit_said() {
    said=
    said_starts=1
    said_start=$(systemctl show --property=InvocationID --value "$1")
    [ -z "$said_start" ] || said=$(said_in "_SYSTEMD_INVOCATION_ID=$said_start")
    # If the unit has just been restarted and has written nothing yet, look at the start before.
    if [ -z "$said" ] && [ "$(systemctl show --property=NRestarts --value "$1")" != 0 ]; then
        said_starts=2
        said_start=$(journalctl --quiet --no-pager --lines=1 --output=json --output-fields=_SYSTEMD_INVOCATION_ID \
            "_SYSTEMD_UNIT=$1" 2>/dev/null | sed -n 's/.*"_SYSTEMD_INVOCATION_ID" *: *"\([0-9a-f]*\)".*/\1/p')
        [ -z "$said_start" ] || said=$(said_in "_SYSTEMD_INVOCATION_ID=$said_start")
    fi
    # If a program ends at once, journald may not know any more which start its lines belong to. Then take the lines since the
    # time of that start.
    if [ -z "$said" ]; then
        said_start=$(journalctl --quiet --no-pager --lines="$said_starts" --output=short-unix "UNIT=$1" "MESSAGE_ID=$said_starting" \
            "MESSAGE_ID=$said_started" 2>/dev/null | sed -n '1s/ .*//p')
        [ -z "$said_start" ] || said=$(said_in "_SYSTEMD_UNIT=$1" "--since=@$said_start")
    fi
    [ -n "$said" ] || said=$(said_in "--unit=$1")
}

# said_in MATCH [OPTION]: print the last lines of the journal that match.
said_in() {
    journalctl --quiet --no-pager --lines="$said_lines" --output=cat "$@" 2>/dev/null | tail -n "$said_lines" | tail -c 65536 |
        cut -c "1-$said_characters" | tr '\n\0' '\036 '
}
