# shellcheck shell=sh disable=SC2034,SC2154
# undo: what a guard does when its controller is silent. Runs from STATE/guard/undo, without network, at any boot.
# needs: home limit undo_as switched_from switched_to record
#
# undo_as: what the switch back is, see switch.sh. switched_from, switched_to: the releases of the switch that is undone.
state=${0%/guard/undo}

# include guard.sh
# include append.sh
# include undoing.sh
# include switching.sh

begin_look
begin_undo

find_current
status="done"
if [ "$current" != "$switched_from" ] && [ "$current" != "$switched_to" ]; then
    stuck "somebody made $current the current release; it is left as it is"
elif [ "$target" != - ] && [ ! -f "$home/releases/$target/.slipway/complete" ]; then
    stuck "release $target is incomplete now"
else
    what=$undo_as
    by_guard=yes
    left=$switched_to
    [ "$left" != "$target" ] || left=$switched_from
    (write_moved "$state" "$guard_id") || :
    switch_to
    note "slipway: the controller of $guard_id was silent for $seconds s; $target runs again"
fi
end_undo "$record"
