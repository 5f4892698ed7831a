# shellcheck shell=sh disable=SC2034,SC2154
# console HOME USER UNIT NAME TERM PROMPT COMMAND MARK: an interactive COMMAND in the release that runs, on the terminal that this
# script has, as UNIT (or "-") would run it; USER is the application's. First a line "begun" or "error", last "MARK STATUS".
home=$1
user=$2
wanted=$3
name=$4
terminal=$5
prompt=$6
command=$7
mark=$8

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
# Where sudo asked for a password, something still reads the terminal: nobody would see that this has ended.
printf '%s %s\n' "$mark" "$status"
exit "$status"
