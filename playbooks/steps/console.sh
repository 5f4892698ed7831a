# shellcheck shell=sh disable=SC2034,SC2154
# console: run an interactive command in the running release, on this script's terminal, as its unit would run it.
# needs: home user wanted name terminal prompt command mark
#
# wanted: the unit, or "-" for the first one. name: of the unit that the command runs in. The first line that this script
# prints is "begun" or "error", the last one is the mark and the command's status.

# include like_unit.sh

find_unit "$wanted"
set -- --property=TimeoutStopSec=10 --property=SendSIGHUP=yes
while IFS= read -r line; do set -- "$@" --property="$line"; done <<END
$(unit_properties "$user")
END
set -- "$@" --property=Environment="TERM=$terminal" --property=Environment="\"PS1=$prompt\""
case $command in *\$*) command=$(printf '%s' "$command" | sed 's/\$/$$/g') ;; esac
emit begun "$current" "${unit:--}"
status=0
systemd-run --quiet --pty --wait --collect --unit="$name" "$@" -- /bin/sh -c "$command" || status=$?
# If sudo asked for a password, it still reads the terminal, and the controller would not see that this script has ended.
printf '%s %s\n' "$mark" "$status"
exit "$status"
