# shellcheck shell=sh disable=SC2034,SC2154
# Files that systemd opens for a unit, as root and following links, before it becomes the unit's user. Needs root_only.sh, as_user.sh,
# $home, $user.

# find_unit_path FOLDER CURRENT IN-PLACE: set unit_path to the first file that unit files in FOLDER have systemd open in a folder
# that somebody else, or the application's user, can change: there a link leads to any file of the host, which is then written to, or read for
# the application. Set foreign to that folder, and unit_directive. Status 1: there is none. What is below CURRENT is looked
# for in IN-PLACE. A file that is the user's own, in a folder of root's, stays that file.
find_unit_path() {
    unit_paths=$(find "$1" -type f -exec cat -- {} + | awk '
        function tell(path) {
            gsub(/["\047]/, "", path)
            sub(/^[-+]+/, "", path)
            # systemd.unit(5), of the system; what is not known before the unit starts ends the path.
            sub(/^%S/, "/var/lib", path); sub(/^%t/, "/run", path); sub(/^%C/, "/var/cache", path)
            sub(/^%L/, "/var/log", path); sub(/^%E/, "/etc", path); sub(/^%h/, "/root", path)
            if (path ~ /^\//) print key "\t" path
        }
        /^[ \t]*[#;]/ { next }
        { line = held $0; held = "" }
        line ~ /\\$/ { held = substr(line, 1, length(line) - 1) " "; next }
        {
            at = index(line, "=")
            key = substr(line, 1, at - 1)
            value = substr(line, at + 1)
            gsub(/[ \t]/, "", key)
            sub(/^[ \t]+/, "", value)
            sub(/[ \t]+$/, "", value)
        }
        key ~ /^Standard(Input|Output|Error)$/ && sub(/^(file|append|truncate):/, "", value) { tell(value) }
        key ~ /^(EnvironmentFile|RootImage)$/ { tell(value) }
        key ~ /^LoadCredential(Encrypted)?$/ { sub(/^[^:]*:/, "", value); tell(value) }
        key == "OpenFile" { sub(/:.*/, "", value); tell(value) }
        key ~ /^Bind(ReadOnly)?Paths$/ {
            count = split(value, words, /[ \t]+/)
            for (i = 1; i <= count; i++) { sub(/:.*/, "", words[i]); tell(words[i]) }
        }' | sort -u)
    [ -n "$unit_paths" ] || return 1
    while IFS=$tab read -r unit_directive unit_path; do
        unit_place=$unit_path
        # Of a pattern, or with what only systemd knows, the folders before that.
        case $unit_place in *[%*?[]*) unit_place=${unit_place%%[%*?[]*} && unit_place=${unit_place%/*}/. ;; esac
        case $unit_place in "$2"/*) unit_place=$3/${unit_place#"$2"/} ;; esac
        find_foreign "${unit_place%/.}"
        [ -n "$foreign" ] || continue
        case $unit_place in
            */.) ;;
            *) [ "$foreign" != "$place" ] || continue ;;
        esac
        # A folder of root's may be a group's as well, as /var/log is on some distributions.
        if [ "$(stat -c %u "$foreign")" != 0 ] || as_user "$user" test -w "$foreign" 2>/dev/null; then return 0; fi
    done <<END_OF_PATHS
$unit_paths
END_OF_PATHS
    return 1
}
