# shellcheck shell=sh disable=SC2034,SC2154
# Slots: two releases run beside each other, each with units called NAME@SLOT.service. The file of such a unit is its own
# release's and names the release's folder and not current, so what restarts there is the same release again. The files tell
# which release is in a slot. Needs home; functions that change something also need state, limit and reload.

# include drop_timer.sh
# include unit_files.sh

# read_slot RELEASE-FOLDER: set slot and port; to nothing for a release without a slot.
read_slot() {
    slot=
    port=
    [ ! -f "$1/.slipway/slot" ] || read -r slot port <"$1/.slipway/slot" || :
}

# units_in_slots: print a line RELEASE/NAME for every unit file and folder of drop-ins in a slot.
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

# find_slot RELEASE: set slot and port. For a release whose folder is gone, set only slot, by its unit's file.
find_slot() {
    read_slot "$home/releases/$1"
    [ -z "$slot" ] && [ ! -d "$home/releases/$1/.slipway" ] || return 0
    for slot_unit in $(units_in_slots); do
        case $slot_unit in "$1"/*@*.service) slot=${slot_unit##*@} && slot=${slot%.service} ;; esac
    done
}

# in_slot RELEASE-FOLDER NAME: whether a unit or a file of this release belongs to $slot.
in_slot() {
    [ -n "$slot" ] || return 1
    case $2 in
        *@"$slot".service | *@"$slot".service.d) [ -e "$1/.slipway/unit-files/$2" ] ;;
        *) return 1 ;;
    esac
}

# drop_unit NAME: stop a unit of a slot, and remove its file.
drop_unit() {
    case $1 in
        *.service)
            timeout "${limit:?}" systemctl stop "$1" || note "$1 did not stop"
            # A failed unit without a file stays failed for good, and keeps its host degraded.
            systemctl reset-failed "$1" 2>/dev/null || :
            disable_unit "$1"
            ;;
    esac
    remove_unit "$1"
}

# leave_slot RELEASE: stop the units of a release that run beside the current one, and remove their files.
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

# cancel_idle SLOT: remove the timer that would stop the units in a slot.
cancel_idle() {
    [ -d "${state:?}/idle/$1" ] || return 0
    idle_unit=slipway-idle-${state##*/}-$1
    # The timer's service must end, because it must not stop a unit that this step has started. It may also be what runs this
    # code.
    if [ "${idle_ends:-}" = yes ]; then
        drop_timer "$idle_unit" --no-block
    else
        drop_timer "$idle_unit" "$idle_unit.service"
    fi
    rm -rf "$state/idle/$1"
}
