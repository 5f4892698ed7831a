# shellcheck shell=sh disable=SC2034,SC2154
# Slots: two releases beside each other, each with units called NAME@SLOT.service. Such a unit's file is that of its own
# release, and names its folder rather than current: what restarts there comes up as what it was. The files are what tells
# which release a slot has. Needs home; what changes something also needs state, limit, reload.

# include drop_timer.sh
# include unit_files.sh

# read_slot RELEASE-FOLDER: set slot and port; empty for a release that takes the place of the one before.
read_slot() {
    slot=
    port=
    [ ! -f "$1/.slipway/slot" ] || read -r slot port <"$1/.slipway/slot" || :
}

# units_in_slots: RELEASE/NAME a line, for every unit file and folder of drop-ins that a slot has.
units_in_slots() {
    for slot_file in "$units_folder"/*@*.service "$units_folder"/*@*.service.d; do
        unit_owner "$slot_file"
        if [ -z "$unit_of" ] && [ -d "$slot_file" ]; then
            for slot_drop_in in "$slot_file"/*.conf; do
                unit_owner "$slot_drop_in"
                [ -z "$unit_of" ] || break
            done
        fi
        case $unit_of in "$home/releases/"*) printf "%s/%s\n" "${unit_of#"$home/releases/"}" "${slot_file##*/}" ;; esac
    done
}

# find_slot RELEASE: the same; of a release whose folder is gone, slot alone, by its unit's file.
find_slot() {
    read_slot "$home/releases/$1"
    [ -z "$slot" ] && [ ! -d "$home/releases/$1/.slipway" ] || return 0
    for slot_unit in $(units_in_slots); do
        case $slot_unit in "$1"/*@*.service) slot=${slot_unit##*@} && slot=${slot%.service} ;; esac
    done
}

# in_slot RELEASE-FOLDER NAME: whether a unit, or a file, of this release belongs to $slot.
in_slot() {
    [ -n "$slot" ] || return 1
    case $2 in
        *@"$slot".service | *@"$slot".service.d) [ -e "$1/.slipway/unit-files/$2" ] ;;
        *) return 1 ;;
    esac
}

# drop_unit NAME: stop a unit of a slot and take its file away.
drop_unit() {
    case $1 in
        *.service)
            timeout "${limit:?}" systemctl stop "$1" || note "$1 did not stop"
            # Without a file a failed unit stays failed for good, and its host degraded.
            systemctl reset-failed "$1" 2>/dev/null || :
            disable_unit "$1"
            ;;
    esac
    remove_unit "$1"
}

# leave_slot RELEASE: stop what runs of it beside the current one.
leave_slot() {
    find_slot "$1"
    [ -n "$slot" ] || return 0
    found=
    for file in $(units_in_slots); do
        [ "${file%/*}" = "$1" ] || continue
        found=yes
        drop_unit "${file##*/}"
    done
    [ -n "$found" ] || return 0
    cancel_idle "$slot"
    systemctl daemon-reload
}

# cancel_idle SLOT: no timer stops what is in it any more.
cancel_idle() {
    [ -d "${state:?}/idle/$1" ] || return 0
    idle_unit=slipway-idle-${state##*/}-$1
    # What it is about to stop must not be stopped after we have started it. It may be what runs us, too.
    if [ "${idle_ends:-}" = yes ]; then
        drop_timer "$idle_unit" --no-block
    else
        drop_timer "$idle_unit" "$idle_unit.service"
    fi
    rm -rf "$state/idle/$1"
}
