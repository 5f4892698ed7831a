# shellcheck shell=sh disable=SC2034,SC2154
# Files that systemd works on for a unit, as root and following links, before it becomes the unit's user; and programs that it starts
# as root. Needs root_only.sh, $home, $user.

# include can_write.sh

# find_unit_path FOLDER CURRENT IN-PLACE: set unit_path to the first file that unit files in FOLDER have systemd open, make or
# mount over in a folder that somebody else, or the application's user, can change: there a link leads to any file of the host,
# which is then written to, given away, covered, or read for the application; or to the first program that is started as root and
# is not root's alone. Set foreign to that folder, unit_whose to whose it is, and unit_directive. Status 1: there is none. What is
# below CURRENT is looked for in IN-PLACE. A file that is the user's own, in a folder of root's, stays that file.
find_unit_path() {
    # A line: directive, path, what is to be looked at, how, the folder that systemd itself will have given away, and to whom. How
    # "all": whoever could write there counts; "folder": likewise, if that is a folder. With "group": a user, and groups that it has in a unit.
    unit_paths=$(find "$1" -type f -exec awk '
        function plain(path) {
            gsub(/["\047]/, "", path)
            sub(/^[-+]+/, "", path)
            # systemd.unit(5), of the system; what is not known before the unit starts ends the path.
            sub(/^%S/, "/var/lib", path); sub(/^%t/, "/run", path); sub(/^%C/, "/var/cache", path)
            sub(/^%L/, "/var/log", path); sub(/^%E/, "/etc", path); sub(/^%h/, "/root", path)
            sub(/^%T/, "/tmp", path); sub(/^%V/, "/var/tmp", path)
            gsub(/%n/, unit, path); gsub(/%N/, stem, path); gsub(/%p/, prefix, path)
            gsub(/\/\/+/, "/", path)
            return path
        }
        function above(path) { sub(/\/[^\/]*$/, "", path); return path }
        function tell(path, look) {
            path = plain(path)
            if (path !~ /^\//) return 0
            told(key, path, path, look)
            return 1
        }
        function told(directive, path, place, look) {
            count_told++
            tell_line[count_told] = directive "\t" path "\t" place
            tell_place[count_told] = place
            tell_look[count_told] = look
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
        function tell_sockets(    i, path) {
            for (i = 1; i <= sockets; i++) {
                path = plain(socket[i])
                if (path ~ /^\//) told(socket_key[i], path, above(path), owned ? "all" : "")
            }
            sockets = owned = 0
        }
        function gives(path) { made_count++; made[made_count] = plain(path); made_of[made_count] = unit }
        # It makes these, gives them to the unit'\''s user with all that is in them, and takes some away in the end.
        function tell_folders(value, base,    words, count, i, part, parts) {
            count = split(value, words, /[ \t]+/)
            for (i = 1; i <= count; i++) {
                parts = split(words[i], part, ":")
                if (part[1] == "" || part[1] ~ /^\//) continue
                tell(base "/" part[1], "")
                if (key != "ConfigurationDirectory") { gives(base "/" part[1]); gives(base "/private/" part[1]) }
                if (parts > 1 && part[2] != "") tell(base "/" part[2], "")
            }
        }
        function tell_programs(value,    commands, count, i) {
            count = split(value, commands, /[ \t]+;[ \t]+/)
            for (i = 1; i <= count; i++) tell_program(commands[i])
        }
        # Where the program is a shell or the like, or starts another, what that runs.
        function tell_program(value,    words, count, i, marks, as_root, program, runs) {
            if (match(value, /^[-@:+!|]+/)) {
                marks = substr(value, 1, RLENGTH)
                value = substr(value, RLENGTH + 1)
            }
            # systemd.service(5): + and ! leave it root, !! does on kernels of before 2016.
            as_root = marks ~ /[+]/ || (marks ~ /!/ && marks !~ /!!/)
            if (as_root) root_runs[unit]
            count = split(value, words, /[ \t]+/)
            program = plain(words[1])
            starts(program, as_root)
            runs = named(program)
            for (i = marks ~ /@/ ? 3 : 2; i <= count && runs != ""; i++) {
                reads_names[unit]
                if (as_root) root_reads_names[unit]
                if (runs ~ /sh[0-9.]*$/ && words[i] ~ /^-[a-z]*c$/) {
                    # Of the commands of a shell, the first.
                    program = plain(words[++i])
                    if (program == "exec") program = plain(words[++i])
                    if (program ~ /^\//) starts(program, as_root)
                    return
                }
                if (runs ~ /^python/ && words[i] ~ /^-[a-zA-Z]*m$/) {
                    starts(".", as_root)
                    from_folder[count_told]
                    return
                }
                # A program in the word itself.
                if (runs ~ /^(python|perl|ruby|node|php|lua)/ && words[i] ~ /^-[a-zA-Z]*[ceEr]$/) return
                if (words[i] ~ /^-|^[A-Za-z_][A-Za-z0-9_]*=/) continue
                # Of an option of such a program.
                if (runs ~ starters && words[i] ~ /^([0-9][0-9a-fx.,-]*[smhd]?|[A-Z0-9]+)$/) continue
                program = plain(words[i])
                starts(program, as_root)
                if (program !~ /^\// && runs !~ starters && program !~ interpreters) from_folder[count_told]
                # A script ends it, a shell that env starts does not.
                if (runs !~ starters && program ~ /^\//) return
                runs = named(program)
            }
        }
        # What the name of a program says that it runs; or nothing.
        function named(program) {
            sub(/.*\//, "", program)
            return program ~ interpreters && program != "ssh" ? program : ""
        }
        function starts(program, as_root) {
            told(key, program, program, "all")
            program_of[count_told] = unit
            always[count_told] = as_root
        }
        # Where libraries of all programs are looked for, and what shells and their like run.
        function tell_variables(value,    words, count, i, at, name, places, parts, j) {
            gsub(/["\047]/, "", value)
            count = split(value, words, /[ \t]+/)
            for (i = 1; i <= count; i++) {
                at = index(words[i], "=")
                name = substr(words[i], 1, at - 1)
                if (name !~ /^LD_(PRELOAD|LIBRARY_PATH|AUDIT)$/ && name !~ read_by_name) continue
                parts = split(substr(words[i], at + 1), places, ":")
                for (j = 1; j <= parts; j++) if (tell(places[j], "all")) {
                    variable_of[count_told] = unit
                    if (name !~ /^LD_/) of_names[count_told]
                }
            }
        }
        # Whether a unit starts something as root, and not only what reads no such variable.
        function reads(unit, by_name) {
            if (by_name) return unit in root_reads_names || (unit in reads_names && who_runs(unit) == "")
            return unit in root_runs || who_runs(unit) == ""
        }
        # Where a unit starts. A drop-in counts.
        function folder(unit) { return (unit in dropped_folder) ? dropped_folder[unit] : folder_of[unit] }
        # What a drop-in says counts.
        function who_runs(unit,    name) {
            if (dynamic[unit]) return "its user"
            name = (unit in dropped_user) ? dropped_user[unit] : user_of[unit]
            return name == "" || name == "0" || name == "root" ? "" : name
        }
        # show NUMBER PLACE: print what was told; with a PLACE, that it is there.
        function show(i, place,    from, line, j) {
            line = tell_line[i]
            if (place == "") place = tell_place[i]
            else line = substr(line, 1, index(line, "\t")) place "\t" place
            from = "-\t-"
            for (j = 1; j <= made_count; j++) {
                if (who_runs(made_of[j]) == "") continue
                if (index(place, made[j] "/") == 1 || (tell_look[i] != "" && place == made[j])) from = made[j] "\t" who_runs(made_of[j])
            }
            print line "\t" (tell_look[i] == "" ? "-" : tell_look[i]) "\t" from
        }
        BEGIN {
            starters = "^(env|timeout|nice|ionice|nohup|setsid|stdbuf|chrt|taskset)$"
            interpreters = "^(env|timeout|nice|ionice|nohup|setsid|stdbuf|chrt|taskset|java|([a-z]*sh|python|perl|ruby|node|php|lua)[0-9.]*)$"
            read_by_name = "^(PATH|PYTHON(PATH|HOME)|PERL5LIB|RUBYLIB|NODE_PATH|CLASSPATH|BASH_ENV|ENV)$"
        }
        FNR == 1 {
            tell_sockets()
            held = section = ""
            unit = FILENAME
            drop_in = sub(/\.d\/[^\/]*$/, "", unit)
            sub(/.*\//, "", unit)
            units[unit]
            stem = prefix = unit
            sub(/\.[a-z]*$/, "", stem)
            sub(/(@.*)?\.[a-z]*$/, "", prefix)
        }
        /^[ \t]*[#;]/ { next }
        { line = held $0; held = "" }
        line ~ /\\$/ { held = substr(line, 1, length(line) - 1) " "; next }
        line ~ /^[ \t]*\[/ { section = line; next }
        # systemd reads nothing of the kind there.
        section ~ /\[(Unit|Install|X-.*)\]/ { next }
        {
            at = index(line, "=")
            key = substr(line, 1, at - 1)
            value = substr(line, at + 1)
            gsub(/[ \t]/, "", key)
            sub(/^[ \t]+/, "", value)
            sub(/[ \t]+$/, "", value)
        }
        key == "User" { if (drop_in) dropped_user[unit] = value; else user_of[unit] = value }
        key == "DynamicUser" { dynamic[unit] = value ~ /^(1|yes|true|on|y|t)$/ }
        key ~ /^(Group|SupplementaryGroups)$/ { groups_of[unit] = groups_of[unit] " " value }
        key ~ /^Standard(Input|Output|Error)$/ && sub(/^(file|append|truncate):/, "", value) { tell(value, "") }
        key == "EnvironmentFile" && tell(value, "") { environment_of[count_told] = unit }
        key ~ /^(TTYPath|(Network|IPC)NamespacePath|ListenSpecial)$/ { tell(value, "") }
        # What is in them may be setuid, or say what a setuid program loads.
        key ~ /^Root(Directory|Image)$/ { tell(value, "all") }
        key ~ /^(Mount|Extension)Images$|^ExtensionDirectories$/ { tell_words(value, "all") }
        # Of a folder all files are read.
        key ~ /^LoadCredential(Encrypted)?$/ { sub(/^[^:]*:/, "", value); tell(value, "folder") }
        key == "OpenFile" { sub(/:.*/, "", value); tell(value, "") }
        key ~ /^Bind(ReadOnly)?Paths$/ { tell_words(value, "") }
        key == "TemporaryFileSystem" {
            count = split(value, places, /[ \t]+/)
            for (i = 1; i <= count; i++) { sub(/:.*/, "", places[i]); tell(places[i], "") }
        }
        key == "RuntimeDirectory" { tell_folders(value, "/run") }
        key == "StateDirectory" { tell_folders(value, "/var/lib") }
        key == "CacheDirectory" { tell_folders(value, "/var/cache") }
        key == "LogsDirectory" { tell_folders(value, "/var/log") }
        key == "ConfigurationDirectory" { tell_folders(value, "/etc") }
        # It is removed by its name in the end.
        key == "PIDFile" {
            if (value !~ /^[\/%]/) value = "/run/" value
            value = plain(value)
            if (value ~ /^\//) told(key, value, above(value), "")
        }
        key ~ /^Exec(Condition|StartPre|Start|StartPost|Reload|Stop|StopPost)$/ { tell_programs(value) }
        key == "WorkingDirectory" {
            value = plain(value)
            if (drop_in) dropped_folder[unit] = value; else folder_of[unit] = value
        }
        key == "ExecSearchPath" { search_of[unit] = value == "" ? "" : search_of[unit] ":" value }
        key == "Environment" { tell_variables(value) }
        key ~ /^Listen(Stream|Datagram|SequentialPacket|FIFO)$/ { socket[++sockets] = value; socket_key[sockets] = key }
        key == "Symlinks" {
            count = split(value, places, /[ \t]+/)
            for (i = 1; i <= count; i++) { socket[++sockets] = places[i]; socket_key[sockets] = key }
        }
        key ~ /^Socket(User|Group)$/ && value != "" { owned = 1 }
        END {
            tell_sockets()
            for (i = 1; i <= count_told; i++) {
                if (i in program_of && !always[i] && who_runs(program_of[i]) != "") continue
                if (i in variable_of && !reads(variable_of[i], i in of_names)) continue
                if (i in from_folder) {
                    if (folder(program_of[i]) !~ /^\//) continue
                    place = folder(program_of[i])
                    if (tell_place[i] != ".") place = place "/" tell_place[i]
                    show(i, place)
                    continue
                }
                if (i in program_of && tell_place[i] !~ /\// && search_of[program_of[i]] != "") {
                    count = split(search_of[program_of[i]], places, ":")
                    for (j = 1; j <= count; j++) if (plain(places[j]) ~ /^\//) show(i, plain(places[j]) "/" tell_place[i])
                    continue
                }
                # What is in it, such as LD_PRELOAD=, what is started as root reads, too.
                if (i in environment_of && (environment_of[i] in root_runs || who_runs(environment_of[i]) == "")) tell_look[i] = "all"
                show(i, "")
            }
            for (name in units) if (who_runs(name) != "") print "user\t" who_runs(name) "\t" groups_of[name] " "
        }' {} + | sort -u)
    [ -n "$unit_paths" ] || return 1
    while IFS=$tab read -r unit_directive unit_path unit_place unit_look unit_made unit_whose; do
        [ "$unit_directive" != user ] || continue
        if [ "$unit_made" != - ]; then
            foreign=$unit_made
            unit_whose="$unit_whose's, whom systemd gives it to"
            return 0
        fi
        # By a name alone systemd finds it where we do.
        case $unit_place in
            /*) ;;
            *) unit_place=$(PATH=$settings_path && command -v "$unit_place") || continue ;;
        esac
        case $unit_place in /*) ;; *) continue ;; esac
        # Of a pattern, or with what only systemd knows, the folders before that.
        case $unit_place in *[%*?[]*) unit_place=${unit_place%%[%*?[]*} && unit_place=${unit_place%/*} && unit_look=all ;; esac
        case $unit_place in "$2"/*) unit_place=$3/${unit_place#"$2"/} ;; esac
        [ "$unit_look" != folder ] || [ ! -d "$unit_place" ] || unit_look=all
        if find_users_part "$unit_place" "$unit_look"; then
            unit_whose=$(stat -c '%U, %A' "$foreign")
            return 0
        fi
    done <<END_OF_PATHS
$unit_paths
END_OF_PATHS
    return 1
}

# unit_harm: prints what comes of what find_unit_path found.
unit_harm() {
    case $unit_directive in
        Exec*) echo 'it is started as root, whoever changed it' ;;
        Environment) echo 'what is started as root finds programs or libraries there, whoever put them there' ;;
        *) echo 'systemd works there as root, whatever link is put there' ;;
    esac
}

# tell_unit_paths RELEASE-FOLDER: the same of a release that runs already, or did, and is not kept from it: its units were made before
# this was looked at, or by another tool.
tell_unit_paths() {
    [ -d "$1/.slipway/unit-files" ] || return 0
    ! find_unit_path "$1/.slipway/unit-files" "$home/current" "$1" ||
        note "a unit of release ${1##*/} has $unit_directive=, and $unit_path is in $foreign ($unit_whose): $(unit_harm); name a place whose folders are root's alone, and deploy that"
}

# find_users_part PATH LOOK: set foreign to the first part of the way to PATH that is somebody else's than root's, or that the user,
# or one of the units', can change; status 1 where there is none. PATH itself counts where LOOK is "all".
find_users_part() {
    find_foreign "$1"
    [ -n "$foreign" ] || return 1
    if is_users "$foreign"; then
        [ "$2" = all ] || [ "$foreign" != "$place" ]
        return
    fi
    # A folder of root's may be a group's as well, as /var/log is on some distributions; what is below it may be the user's.
    users_before=$foreign
    way=
    add_way "$1"
    set -- "$2" "$way_at"
    while IFS= read -r foreign; do
        case $users_before/ in "$foreign"/*) continue ;; esac
        [ "$1" = all ] || [ "$foreign" != "$2" ] || continue
        if is_users "$foreign"; then return 0; fi
    done <<END_OF_WAY
${way%"$newline"}
END_OF_WAY
    foreign=
    return 1
}

# is_users PATH: whether it is somebody else's than root's, or the user or one that a unit names can change it, be it by a group that
# the unit adds.
is_users() {
    users_seen=$(stat -c '%u %A %G %g' "$1")
    case $users_seen in '0 '*) ;; *) return 0 ;; esac
    ! can_write "$user" "$1" || return 0
    users_group=
    case $users_seen in '0 '?????w*) users_group=${users_seen#* * } ;; esac
    while IFS=$tab read -r users_kind users_name users_groups; do
        [ "$users_kind" = user ] || continue
        for users_one in $users_group; do
            case " $users_groups " in *" $users_one "*) return 0 ;; esac
        done
        if [ "$users_name" = "$user" ] || ! id -u "$users_name" >/dev/null 2>&1; then continue; fi
        ! can_write "$users_name" "$1" || return 0
    done <<END_OF_USERS
$unit_paths
END_OF_USERS
    return 1
}
