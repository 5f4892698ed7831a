# shellcheck shell=sh disable=SC2034,SC2154
# slipway_databases[].backup.method: command. Somebody's own commands make a snapshot, wait for it, list, restore and delete
# snapshots. See backup_methods.sh, whose option and method_variables these are, and docs/backups.md for what they are told.

# include last_line.sh

# command_run KIND SNAPSHOT BACKUP: run a command of the selected database in a unit of its own. Sets command_status; the end of
# its output is in $scratch/said, that of its messages in $scratch/messages. Variables come on standard input, so that no command
# line, no file and no property of the unit has a secret.
command_run() {
    command_kind=$1
    command_as=$(cat "$scratch/methods/$name/user")
    command_limit=$(cat "$scratch/methods/$name/timeout")
    : >"$scratch/status"
    set -- "$2" "$3" --unit="slipway-database-$1-$$" --property=Type=oneshot --property=UMask=0077 --property=TimeoutStopSec=10 \
        --property=TimeoutStartSec="$((command_limit + 20))" --property=Nice="$(nice)"
    command_home=/root
    if [ "$command_as" != root ]; then
        id "$command_as" >/dev/null 2>&1 || fail no-user "there is no user $command_as on this host to run the commands for database $name"
        set -- "$@" --property=User="$command_as" --property=NoNewPrivileges=yes --property=CapabilityBoundingSet= --property=PrivateTmp=yes
        command_home=/tmp
    fi
    command_snapshot=$1 command_backup=$2
    shift 2
    # Whatever the command leaves running may keep its output open, so the readers have a time limit.
    # systemd replaces $NAME in a command's words, so the shell's own are doubled.
    # shellcheck disable=SC2016
    {
        {
            {
                printf '%s\n' PATH="$settings_path" LC_ALL="$LC_ALL" HOME="$command_home" SLIPWAY_DATABASE="$name" \
                    SLIPWAY_BACKUP="$command_backup" SLIPWAY_SNAPSHOT="$command_snapshot" SLIPWAY_COMMAND="$command_kind"
                printf '%s' "$method_variables" | awk -F "$us" -v name="$name" '$1 == name { print substr($0, length(name) + 2) }'
                printf '\n'
                cat "$scratch/methods/$name/$command_kind"
            } | systemd-run --quiet --pipe --wait --collect "$@" -- /bin/sh -c \
                'while IFS= read -r pair && [ -n "$$pair" ]; do export "$${pair?}"; done; command=$$(cat)
                exec timeout --kill-after=10 "$0" sh -c "$$command" </dev/null' "$command_limit" 8>&- || printf '%s' $? >"$scratch/status"
        } 2>&3 | timeout "$((command_limit + 30))" tail -c 65536 >"$scratch/said" 8>&-
    } 3>&1 | timeout "$((command_limit + 30))" tail -c 8192 >"$scratch/messages" 8>&-
    command_status=$(cat "$scratch/status")
    command_status=${command_status:-0}
    [ "$command_status" = 0 ] || command_explain
    return "$command_status"
}

# command_explain: set said.
command_explain() {
    case $command_status in
        124) said="did not end within $command_limit s" ;;
        127) said='was not found, or a program that it calls (status 127)' ;;
        129 | 1[3-9]? | 2??) said="was ended from outside (status $command_status)" ;;
        *) said="ended with status $command_status" ;;
    esac
    command_last=$(last_line_of "$scratch/messages")
    [ -n "$command_last" ] || command_last=$(last_line_of "$scratch/said")
    said="the command '$command_kind' of database $name $said${command_last:+: $command_last}"
}

# command_has SNAPSHOT ID: whether the list has the snapshot; status 2 sets said to why nobody can tell.
command_has() {
    command_run list "$1" "$2" || return 2
    tr -d '\r' <"$scratch/said" | awk -v id="$1" '{ gsub(/^[ \t]+|[ \t]+$/, "") } $0 == id { found = 1 } END { exit !found }'
}

# command_is_id TEXT: whether this may be a snapshot's id. It comes from somebody's program, and goes into records and messages.
command_is_id() {
    case $1 in '' | -* | *[!A-Za-z0-9._:/@+=-]*) return 1 ;; esac
    [ "${#1}" -le 256 ]
}

command_create() {
    note "making a snapshot of database $name by its command"
    command_run create '' "$2" || fail snapshot "$said"
    command_id=$(last_line_of "$scratch/said")
    command_is_id "$command_id" || fail snapshot "the command 'create' of database $name ended with '${command_id:-nothing}', expected the snapshot's id in the last line of its output"
    if [ -s "$scratch/methods/$name/wait" ] && ! command_run wait "$command_id" "$2"; then
        command_why=$said
        command_run delete "$command_id" "$2" || command_why="$command_why; $said, so snapshot $command_id is left behind"
        fail snapshot "$command_why"
    fi
    command_found=0
    command_has "$command_id" "$2" || command_found=$?
    [ "$command_found" -ne 2 ] || fail snapshot "$said; snapshot $command_id is left behind"
    [ "$command_found" -eq 0 ] || fail snapshot "the command 'create' of database $name says that it made $command_id, and 'list' does not have it"
    jq --compact-output --null-input --arg name "$name" --arg method command --arg snapshot "$command_id" '$ARGS.named' >"$scratch/entry.json"
    cp "$scratch/entry.json" "$1.json"
}

# command_read FILE: set snapshot_id from an entry.
command_read() {
    snapshot_id=$(jq -r '.snapshot | strings' "$1")
    command_is_id "$snapshot_id"
}

# command_in_settings: whether the settings still say by which commands.
command_in_settings() {
    method_in_settings
    [ "$method" = command ] && return 0
    said="it was backed up by commands, and slipway_databases says '$method' now"
    return 1
}

command_drill() {
    command_in_settings || { emit problem "database $name: $said"; return; }
    command_read "$1.json" || { emit problem "the backup of database $name has no snapshot's id"; return; }
    command_found=0
    command_has "$snapshot_id" "$2" || command_found=$?
    case $command_found in
        0) ;;
        2) emit problem "$said" && return ;;
        *) emit problem "snapshot $snapshot_id of database $name is gone: the command 'list' does not have it" && return ;;
    esac
    if [ ! -s "$scratch/methods/$name/drill" ]; then
        emit unproven "snapshot $snapshot_id of database $name is there, and was not restored: slipway_databases[].backup.drill says how"
        return
    fi
    command_run drill "$snapshot_id" "$2" || { emit problem "$said"; return; }
    emit loaded "$name"
}

command_restore() {
    command_in_settings || fail snapshot "$said; nothing was restored"
    command_read "$1.json" || fail not-in-backup "backup $2 has no snapshot's id of database $name"
    command_found=0
    command_has "$snapshot_id" "$2" || command_found=$?
    [ "$command_found" -ne 2 ] || fail snapshot "$said; nothing was restored"
    [ "$command_found" -eq 0 ] || fail not-in-backup "snapshot $snapshot_id of database $name is gone: the command 'list' does not have it; nothing was restored"
    before_id=
    [ "$6" = - ] || before_id=$(jq -r --arg name "$name" '.databases[] | select(.name == $name) | .snapshot | strings' "$6")
    note "restoring snapshot $snapshot_id by the command of database $name"
    command_run restore "$snapshot_id" "$2" ||
        fail snapshot "$said. What state $name is in only that command knows${before_id:+; what it was before is snapshot $before_id}"
    kept=
    judge_database "$name" "$3" "$4" >"$scratch/wrong"
    [ -s "$scratch/wrong" ] || return 0
    wrong=$(tr '\n' ';' <"$scratch/wrong")
    [ -n "$before_id" ] || fail damaged "backup $2 is restored, and not good: $wrong"
    command_run restore "$before_id" "$2" || fail damaged "backup $2 is restored, and not good: $wrong And $said, so snapshot $before_id, which is what was there before, did not come back"
    fail damaged "backup $2 is not good enough to go back to: $wrong What was there before is back, from snapshot $before_id"
}

command_drill_end() { :; }

command_delete() {
    command_in_settings || return 1
    command_read "$1" || { said='its record has no id of a snapshot'; return 1; }
    command_found=0
    command_has "$snapshot_id" "$2" || command_found=$?
    [ "$command_found" -ne 1 ] || return 0
    [ "$command_found" -ne 2 ] || return 1
    command_run delete "$snapshot_id" "$2" || return 1
}
