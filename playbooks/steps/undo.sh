# shellcheck shell=sh disable=SC2034,SC2154
# undo: what a guard does when its controller is silent. Runs from STATE/guard/undo, without network, at any boot.
state=${0%/guard/undo}

# include guard.sh
# include append.sh
# include undoing.sh
# include switching.sh

begin_look
{
    IFS= read -r home
    read -r limit
    read -r one
    read -r other
    read -r undo_as
    IFS= read -r record
} <"$guard/arguments"
begin_undo

find_current
status="done"
if [ "$current" != "$one" ] && [ "$current" != "$other" ]; then
    stuck "somebody made $current the current release; it is left as it is"
elif [ "$target" != - ] && [ ! -f "$home/releases/$target/.slipway/complete" ]; then
    stuck "release $target is incomplete now"
else
    what=$undo_as
    by_guard=yes
    left=$other
    [ "$left" != "$target" ] || left=$one
    (write_moved "$state" "$guard_id") || :
    switch_to
    note "slipway: the controller of $guard_id was silent for $seconds s; $target runs again"
fi
end_undo "$record"
