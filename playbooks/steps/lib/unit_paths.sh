# shellcheck shell=sh disable=SC2034,SC2154
# Before systemd becomes a unit's user, it works on files for the unit, as root and following links. It also starts programs as
# root. This finds those files and programs that somebody else could replace. Needs root_only.sh, home, user.

# include can_write.sh

# find_unit_path FOLDER CURRENT IN-PLACE: find the first dangerous path in the unit files in FOLDER. It sets unit_path to it,
# unit_directive to the directive that names it, foreign to the folder in which somebody can replace it, and unit_whose to who.
# Status 1: there is none. What is below CURRENT is looked for in IN-PLACE.
#
# A path is dangerous in two cases. Either systemd opens, makes or mounts over a file in a folder that the application's user or
# somebody else can change: a link there leads to any file of the host, which is then written to, given away, covered, or read
# for the application. Or systemd starts a program as root that others can change. A file that is the user's own, in a folder
# that only root can change, is not dangerous: nobody can put a link in its place.
find_unit_path() {
    # awk prints a line for each path: the directive; the path; the path to look at; how; a folder that systemd itself will have
    # given away; to whom. How "all": also who can write to the path itself counts; "folder": the same, if it is a folder; "-":
    # only its folders count. Lines "user" have a user that a unit names, and the groups that the unit gives that user.
    unit_paths=$(find "$1" -type f -exec awk '
        function plain(path) {
            gsub(/["\047]/, "", path)
            sub(/^[-+]+/, "", path)
            # The specifiers of systemd.unit(5) for the system manager. Others stay: what they stand for is not known yet.
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
        # systemd makes a socket or link anew by its name. With SocketUser= or SocketGroup= it changes the owner by its name.
        function tell_sockets(    i, path) {
            for (i = 1; i <= sockets; i++) {
                path = plain(socket[i])
                if (path ~ /^\//) told(socket_key[i], path, above(path), owned ? "all" : "")
            }
            sockets = owned = 0
        }
        function gives(path) { made_count++; made[made_count] = plain(path); made_of[made_count] = unit }
        # systemd makes these folders, gives them with their content to the user of the unit, and removes some in the end.
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
        # If the program is a shell or another interpreter, the script that it runs counts, too.
        function tell_program(value,    words, count, i, marks, as_root, program) {
            if (match(value, /^[-@:+!|]+/)) {
                marks = substr(value, 1, RLENGTH)
                value = substr(value, RLENGTH + 1)
            }
            # With + and ! it runs as root (systemd.service(5)); with !! only on kernels from before 2016.
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
        # A drop-in overrides the unit file.
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
        # A program in them may be setuid, or a file there may say what a setuid program loads.
        key ~ /^Root(Directory|Image)$/ { tell(value, "all") }
        key ~ /^(Mount|Extension)Images$|^ExtensionDirectories$/ { tell_words(value, "all") }
        # If it is a folder, systemd reads all files in it.
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
        # systemd removes it by its name in the end.
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
                # A program that is started as root gets what is in it, such as LD_PRELOAD=.
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
        # systemd looks for a program without a path in the same folders as this shell.
        case $unit_place in
            /*) ;;
            *) unit_place=$(PATH=$settings_path && command -v "$unit_place") || continue ;;
        esac
        case $unit_place in /*) ;; *) continue ;; esac
        # If a part is a pattern, or only systemd knows what it stands for, only the folders before that part are looked at.
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

# unit_harm: print the harm that the path of find_unit_path does.
unit_harm() {
    case $unit_directive in
        Exec*) echo 'it is started as root, whoever changed it' ;;
        Environment) echo 'what is started as root finds programs or libraries there, whoever put them there' ;;
        *) echo 'systemd works there as root, whatever link is put there' ;;
    esac
}

# tell_unit_paths RELEASE-FOLDER: only warn of a dangerous path in the units of a release that runs already, or ran before. Its
# units may be older than this check, or another tool may have made them.
tell_unit_paths() {
    [ -d "$1/.slipway/unit-files" ] || return 0
    ! find_unit_path "$1/.slipway/unit-files" "$home/current" "$1" ||
        note "a unit of release ${1##*/} has $unit_directive=, and $unit_path is in $foreign ($unit_whose): $(unit_harm); name a place whose folders are root's alone, and deploy that"
}

# find_users_part PATH LOOK: set foreign to the first part of the way to PATH that is_users finds. Status 1: there is none. PATH
# itself counts only if LOOK is "all".
find_users_part() {
    find_foreign "$1"
    [ -n "$foreign" ] || return 1
    if is_users "$foreign"; then
        [ "$2" = all ] || [ "$foreign" != "$place" ]
        return
    fi
    # find_foreign stops at a folder that a group can change, as /var/log on some distributions. One below it may be the user's.
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

# is_users PATH: whether root does not own it, or the application's user or a user that a unit names can change it. Groups count
# that the unit gives its user.
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
