# shellcheck shell=sh disable=SC2034,SC2154
# Slots: two releases beside each other, each with units called NAME@SLOT.service. Such a unit's file is a link to that of
# its own release, not through current: what restarts there comes up as what it was. The links are what tells which release
# a slot has. Needs home; what changes something also needs state, limit, reload.
slot_units_folder=/etc/systemd/system

# include drop_timer.sh

# read_slot RELEASE-FOLDER: set slot and port; empty for a release that takes the place of the one before.
read_slot() {
    slot=
    port=
    [ ! -f "$1/.slipway/slot" ] || read -r slot port <"$1/.slipway/slot" || :
}

# slot_links: RELEASE/NAME a line, for every unit file and folder of drop-ins that a slot has.
slot_links() {
    find "$slot_units_folder" -maxdepth 1 -type l -lname "$home/releases/*/.slipway/unit-files/*" -printf '%l\n' |
        while IFS= read -r place; do
            place=${place#"$home/releases/"}
            printf '%s/%s\n' "${place%%/*}" "${place##*/}"
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

# disable_unit NAME: no boot starts it any more.
disable_unit() {
    find "$slot_units_folder" -path '*.wants/*' -name "$1" -type l -delete
}

# drop_link NAME: stop a unit of a slot and take its file away.
drop_link() {
    case $1 in
        *.service)
            timeout "$limit" systemctl stop "$1" || note "$1 did not stop"
            disable_unit "$1"
            ;;
    esac
    rm -f "$slot_units_folder/$1"
    reload=yes
}

# leave_slot RELEASE: stop what runs of it beside the current one.
leave_slot() {
    [ -f "$home/releases/$1/.slipway/slot" ] || return 0
    read_slot "$home/releases/$1"
    found=
    for link in $(slot_links); do
        [ "${link%/*}" = "$1" ] || continue
        found=yes
        drop_link "${link##*/}"
    done
    [ -n "$found" ] || return 0
    cancel_idle "$slot"
    systemctl daemon-reload
}

# cancel_idle SLOT: no timer stops what is in it any more.
cancel_idle() {
    [ -d "$state/idle/$1" ] || return 0
    idle_unit=slipway-idle-${state##*/}-$1
    # What it is about to stop must not be stopped after we have started it. It may be what runs us, too.
    if [ "${idle_ends:-}" = yes ]; then
        drop_timer "$idle_unit" --no-block
    else
        drop_timer "$idle_unit" "$idle_unit.service"
    fi
    rm -rf "$state/idle/$1"
}
