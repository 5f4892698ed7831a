# shellcheck shell=sh disable=SC2034,SC2154
# switch: arm the guard, then make a release the current one by one rename and restart its units.
# needs: app home state user what target expected first limit id guard_seconds way_back undo_bytes
#
# target, expected or way_back "-" means none: that is how a first deploy is undone. what: "deploy", with hooks; "rollback";
# "back" for the way back of a deploy that failed; "arm" to arm the guard only. limit: seconds the restart may take. Standard
# input: the guard's script (undo.sh), of undo_bytes.
left=$expected

# include disk_space.sh
# include hooks.sh
# include arm_guard.sh
# include switching.sh
# include unit_paths.sh

trap '[ $? -eq 0 ] || last_words "$home" "$state"' EXIT

find_current
# Somebody else has changed it since we looked; or this step was sent twice: then current is already the target.
if [ "$current" != "$expected" ] && [ "$current" != "$target" ]; then
    fail moved "expected current to be $expected, found $current (\"-\" means no release)"
fi
for release in "$target" "$way_back"; do
    if [ "$release" != - ] && [ ! -f "$home/releases/$release/.slipway/complete" ]; then
        fail incomplete "release $release is incomplete on this host"
    fi
done
arm() {
    find_mounts "$state" "$home" "$home/releases"
    arm_guard "$way_back" "$home"
}

guard_names "$state"
if [ "$what" = back ]; then
    # The host goes back even if its disk is full, or has become read-only.
    (arm) >/dev/null || note 'the guard could not be armed for the way back'
    (write_moved "$state" "$id") || note "$state could not be written"
else
    arm
    [ "$what" != arm ] || exit 0
    # Hooks with "once" have run by now: see before_switch.sh.
    [ "$what" != deploy ] || run_hooks "$home/releases/$target" before_switch "$user" -
    [ "$what/$target" != "rollback/${target#-}" ] || tell_unit_paths "$home/releases/$target"
    write_moved "$state" "$id"
fi
switch_to
[ "$what" != deploy ] || run_hooks "$home/releases/$target" after_switch "$user" "$first"
emit switched "$target"
