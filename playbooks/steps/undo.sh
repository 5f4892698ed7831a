# shellcheck shell=sh disable=SC2034,SC2154
# undo: what a guard does when its controller is silent. Runs from STATE/guard/undo, without network, at any boot.
state=${0%/guard/undo}

# include room.sh
# include guard.sh
# include append.sh
# include switching.sh

guard_names "$state"
[ -n "$guard_id" ] || exit 0
if [ -e "$guard/confirmed" ]; then
    remove_guard
    exit 0
fi
read -r target <"$guard/target"
read -r seconds <"$guard/seconds"
{
    IFS= read -r home
    read -r limit
    read -r one
    read -r other
    IFS= read -r record
} <"$guard/arguments"

if [ -e "$guard/armed" ]; then
    read -r up _ </proc/uptime
    heard=0
    [ ! -s "$beat" ] || read -r heard <"$beat" || :
    silent=$((${up%.*} - heard))
    if [ ! -e "$guard/now" ] && [ "$heard" -gt 0 ] && [ "$silent" -lt "$seconds" ]; then exit 0; fi
    if mv "$guard/armed" "$guard/firing" 2>/dev/null; then
        sync "$guard"
    else
        # Confirmed in this very moment; or its disk is read-only by now, and nobody could confirm it either.
        [ -e "$guard/armed" ] || exit 0
        find_current
        [ "$current" != "$target" ] || exit 0
    fi
fi
[ -e "$guard/armed" ] || [ -e "$guard/firing" ] || exit 0
# From here on a controller that wakes up can do nothing, and what it left at work is ended first.
# A full disk must not keep the host from going back: what is only written down may fail.
(raise_token "$state") || note 'slipway: the token could not be raised'
systemctl stop "slipway-${state##*/}-*-$guard_step-*" 2>/dev/null || :

find_current
stuck() {
    status=stuck
    note "slipway: $1"
    printf '%s\n' "$1" 2>/dev/null >"$guard/why" || :
}
status="done"
if [ "$current" != "$one" ] && [ "$current" != "$other" ]; then
    stuck "somebody made $current the current release; it is left as it is"
elif [ "$target" != - ] && [ ! -f "$home/releases/$target/.slipway/complete" ]; then
    stuck "release $target is not whole any more"
else
    what=back
    (write_moved "$state" "$guard_id") || :
    switch_to
    note "slipway: nothing was heard from the controller of $guard_id for $seconds s; $target runs again"
fi
(append_record "$state" "{\"status\":\"$status\",\"at\":\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\",${record#\{}") >/dev/null ||
    note 'slipway: the ledger could not be written'
if [ "$status" = stuck ]; then
    mv "$guard/firing" "$guard/stuck" || :
    systemctl stop --no-block "$guard_unit.timer"
    exit 1
fi
remove_guard
