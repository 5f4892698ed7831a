# shellcheck shell=sh disable=SC2154
# check_units: whether systemd will take the staged release's units, and they are ours. Needs home, release, meta, incoming.

# include output.sh
# include unit_files.sh
# include unit_paths.sh
# include verify_units.sh

# A unit is checked as it will be, with the new release in place of the current one.
# systemd has accepted the same units before: then all that can be wrong is that what they start is not there.
units_are_known() {
    diff -rq "$home/current/.slipway/unit-files" "$meta/unit-files" >/dev/null 2>&1 || return 1
    for file in "$meta/unit-files"/* "$meta/unit-files"/*/*; do
        [ -f "$file" ] || continue
        while IFS= read -r line; do
            case $line in
                # What systemd would read as more than words.
                Exec*%* | Exec*\"* | Exec*\'* | Exec*\$* | *\\) return 1 ;;
                Exec*=?*) ;;
                *) continue ;;
            esac
            program=${line#*=}
            while :; do
                case $program in
                    [-@:+!]*) program=${program#?} ;;
                    *) break ;;
                esac
            done
            program=${program%% *}
            case $program in
                "$home/current"/*) program=$release${program#"$home/current"} ;;
                /*) ;;
                *) return 1 ;;
            esac
            [ -f "$program" ] && [ -x "$program" ] || return 1
        done <"$file"
    done
}

check_units() {
    [ -d "$meta/unit-files" ] || return 0
    for unit in "$meta/unit-files"/*; do
        ! unit_is_taken "$release" "${unit##*/}" ||
            fail unit-taken "$taken is there already, and is $taken_by"
    done
    # Each time: whose a folder is can have changed since.
    ! find_unit_path "$meta/unit-files" "$home/current" "$release" ||
        fail unit-path "a unit has $unit_directive=, and $unit_path is in $foreign ($unit_whose): $(unit_harm)"
    ! units_are_known || return 0
    scratch=$(mktemp -d "$incoming.units.XXXXXX")
    verify_units "$meta/unit-files" "$scratch" "$home/current" "$release" || {
        fail_showing bad-unit 'systemd does not accept the unit' "$(sed "s|$release|$home/current|g" "$scratch/said")"
    }
    while IFS= read -r line; do note "unit: $line"; done <"$scratch/said"
    rm -rf "$scratch"
}
