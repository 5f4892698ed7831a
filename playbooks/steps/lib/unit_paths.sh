# shellcheck shell=sh disable=SC2034,SC2154
# Files that systemd works on for a unit, as root and following links, before it becomes the unit's user. Needs root_only.sh,
# $home, $user.

# include can_write.sh

# find_unit_path FOLDER CURRENT IN-PLACE: set unit_path to the first file that unit files in FOLDER have systemd open, make or
# mount over in a folder that somebody else, or the application's user, can change: there a link leads to any file of the host,
# which is then written to, given away, covered, or read for the application. Set foreign to that folder, and unit_directive.
# Status 1: there is none. What is below CURRENT is looked for in IN-PLACE. A file that is the user's own, in a folder of
# root's, stays that file.
find_unit_path() {
    # A line: directive, path, and what is to be looked at: with /. behind it, whoever could write there counts.
    unit_paths=$(find "$1" -type f -exec awk '
        function plain(path) {
            gsub(/["\047]/, "", path)
            sub(/^[-+]+/, "", path)
            # systemd.unit(5), of the system; what is not known before the unit starts ends the path.
            sub(/^%S/, "/var/lib", path); sub(/^%t/, "/run", path); sub(/^%C/, "/var/cache", path)
            sub(/^%L/, "/var/log", path); sub(/^%E/, "/etc", path); sub(/^%h/, "/root", path)
            sub(/^%T/, "/tmp", path); sub(/^%V/, "/var/tmp", path)
            return path
        }
        function tell(path, look) {
            path = plain(path)
            if (path ~ /^\//) print key "\t" path "\t" path look
        }
        # Words with a source and a place, such as SOURCE:PLACE:OPTIONS.
        function tell_words(value, look,    words, count, i, part, parts) {
            count = split(value, words, /[ \t]+/)
            for (i = 1; i <= count; i++) {
                parts = split(words[i], part, ":")
                tell(part[1], look)
                if (parts > 1) tell(part[2], "")
            }
        }
        # The name is made anew; and where it has an owner, given away, by its name.
        function tell_sockets(    i, path, folder) {
            for (i = 1; i <= sockets; i++) {
                path = plain(socket[i])
                if (path !~ /^\//) continue
                folder = path
                sub(/\/[^\/]*$/, "", folder)
                print socket_key[i] "\t" path "\t" folder (owned ? "/." : "")
            }
            sockets = owned = 0
        }
        FNR == 1 { tell_sockets(); held = "" }
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
        key ~ /^Standard(Input|Output|Error)$/ && sub(/^(file|append|truncate):/, "", value) { tell(value, "") }
        key == "EnvironmentFile" { tell(value, "") }
        # What is in them may be setuid, or say what a setuid program loads.
        key ~ /^Root(Directory|Image)$/ { tell(value, "/.") }
        key ~ /^(Mount|Extension)Images$|^ExtensionDirectories$/ { tell_words(value, "/.") }
        key ~ /^LoadCredential(Encrypted)?$/ { sub(/^[^:]*:/, "", value); tell(value, "") }
        key == "OpenFile" { sub(/:.*/, "", value); tell(value, "") }
        key ~ /^Bind(ReadOnly)?Paths$/ { tell_words(value, "") }
        key == "TemporaryFileSystem" {
            count = split(value, places, /[ \t]+/)
            for (i = 1; i <= count; i++) { sub(/:.*/, "", places[i]); tell(places[i], "") }
        }
        key ~ /^Listen(Stream|Datagram|SequentialPacket|FIFO)$/ { socket[++sockets] = value; socket_key[sockets] = key }
        key == "Symlinks" {
            count = split(value, places, /[ \t]+/)
            for (i = 1; i <= count; i++) { socket[++sockets] = places[i]; socket_key[sockets] = key }
        }
        key ~ /^Socket(User|Group)$/ && value != "" { owned = 1 }
        END { tell_sockets() }' {} + | sort -u)
    [ -n "$unit_paths" ] || return 1
    while IFS=$tab read -r unit_directive unit_path unit_place; do
        # Of a pattern, or with what only systemd knows, the folders before that.
        case $unit_place in *[%*?[]*) unit_place=${unit_place%%[%*?[]*} && unit_place=${unit_place%/*}/. ;; esac
        case $unit_place in "$2"/*) unit_place=$3/${unit_place#"$2"/} ;; esac
        ! find_users_part "$unit_place" || return 0
    done <<END_OF_PATHS
$unit_paths
END_OF_PATHS
    return 1
}

# tell_unit_paths RELEASE-FOLDER: the same of a release that runs already, or did, and is not kept from it: its units were made before
# this was looked at, or by another tool.
tell_unit_paths() {
    [ -d "$1/.slipway/unit-files" ] || return 0
    ! find_unit_path "$1/.slipway/unit-files" "$home/current" "$1" ||
        note "a unit of release ${1##*/} has $unit_directive=, and $unit_path is in $foreign ($(stat -c '%U, %A' "$foreign")): systemd works there as root, whatever link is put there; name a place whose folders are root's alone, and deploy that"
}

# find_users_part PATH: set foreign to the first part of the way to PATH that is somebody else's than root's, or that the user can
# change; status 1 where there is none. Of PATH itself only with /. behind it.
find_users_part() {
    find_foreign "${1%/.}"
    [ -n "$foreign" ] || return 1
    if [ "$(stat -c %u "$foreign")" != 0 ] || can_write "$user" "$foreign"; then
        case $1 in */.) return 0 ;; esac
        [ "$foreign" != "$place" ]
        return
    fi
    # A folder of root's may be a group's as well, as /var/log is on some distributions; what is below it may be the user's.
    users_before=$foreign
    way=
    add_way "${1%/.}"
    set -- "$1" "$way_at"
    while IFS= read -r foreign; do
        case $users_before/ in "$foreign"/*) continue ;; esac
        case $1 in */.) ;; *) [ "$foreign" != "$2" ] || continue ;; esac
        if [ "$(stat -c %u "$foreign")" != 0 ] || can_write "$user" "$foreign"; then return 0; fi
    done <<END_OF_WAY
${way%"$newline"}
END_OF_WAY
    foreign=
    return 1
}
