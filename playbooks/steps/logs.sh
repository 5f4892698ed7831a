# shellcheck shell=sh disable=SC2154
# logs: print what the application's units wrote into the journal, a JSON object in each line (systemd's own format, see
# journalctl(1)), then "end". Changes nothing.
# needs: home follow lines since unit
#
# follow "yes": print also what they write from then on, until nobody listens. lines: how many of the last ones. since is a
# time for journalctl, or "-". unit is the only unit to print, with or without .service or @SLOT.service; "-" means all.

# include find_current.sh
# include own_release.sh
# include slots.sh

find_current
units=
release=$home/releases/$current
if [ "$current" != - ] && is_own_release "$release" && [ -f "$release/.slipway/units" ]; then units=$(cat "$release/.slipway/units"); fi
# Add the units of the release that is kept in the other slot.
for file in $(units_in_slots); do
    case ${file##*/} in *.service) units=$units$newline${file##*/} ;; esac
done
set --
for name in $units; do
    case $unit in
        - | "$name" | "${name%.service}" | "${name%@*}") set -- "$@" --unit="$name" ;;
    esac
done
[ -n "$units" ] || [ "$current" != - ] || fail nothing 'nothing runs here, so there are no units'
[ -n "$units" ] || [ "$unit" != - ] || fail nothing 'what runs here has no units, so nothing of it is in the journal'
[ -n "$units" ] || units=none
[ $# -gt 0 ] || fail no-unit "the application has no unit $unit here; it has: $(printf '%s' "$units" | sort -u | paste -sd ' ')"
[ "$since" = - ] || set -- "$@" --since="$since"
set -- --no-pager --quiet --all --output=json --lines="$lines" \
    --output-fields=MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,_PID "$@"
if [ "$follow" = yes ]; then
    journalctl --follow "$@" &
    follower=$!
    cat >/dev/null 2>&1 || :
    kill "$follower" 2>/dev/null || :
    exit 0
fi
if [ "$since" = - ]; then
    journalctl "$@"
else
    # Print the last lines since that time. With a time alone, journalctl would print the first ones.
    exec 4>&1
    failed=$({ { journalctl --reverse "$@" || echo "$?" >&3; } | tac >&4; } 3>&1)
    [ -z "$failed" ] || exit "$failed"
fi
echo end
