# shellcheck shell=sh disable=SC2034,SC2154
# slipway_databases[].backup.method: pgbackrest. pgBackRest keeps base backups and the WAL of a whole cluster of PostgreSQL, which is
# set up by whoever runs the server. A backup here is a named restore point in the WAL. See backup_methods.sh, and docs/backups.md.

# include escape.sh
# include last_line.sh
# include restore_cluster.sh
# include root_only.sh

# The databases of a cluster, as far as a record has room: whoever may make databases could make as many as a host has records for.
others_of_cluster="select datname from pg_database where not datistemplate and datname <> 'postgres' order by 1 limit 1000"

# pgbackrest_run ARGUMENT...: run pgBackRest for the stanza as the user of the server, as its own WAL archiving does.
pgbackrest_run() {
    cd /
    timeout --kill-after=5 "$database_limit" runuser -u postgres -- pgbackrest --stanza="$stanza" --log-level-console=error \
        --log-level-stderr=off "$@" 8>&- </dev/null
}

# pgbackrest_said FILE: print the end of its messages in one line, without the levels and the times.
pgbackrest_said() { sed 's/^.*\(ERROR\|WARN\|HINT\): *//; s/[[:cntrl:]]/ /g' "$1" | tr -s '\n ' '  ' | cut -c1-300; }

pgbackrest_is_stanza() { case $1 in '' | [!A-Za-z0-9]* | *[!A-Za-z0-9._-]*) return 1 ;; esac; }

# pgbackrest_info: read what backups the stanza has into $scratch/info.json.
pgbackrest_info() {
    pgbackrest_run --output=json info >"$scratch/info.all" 2>"$scratch/err" || {
        said="pgbackrest info failed: $(pgbackrest_said "$scratch/info.all")"
        return 1
    }
    jq -ce --arg stanza "$stanza" '[.[] | select(.name == $stanza)][0] | select(.status.code != 1)' "$scratch/info.all" >"$scratch/info.json" 2>/dev/null || {
        said="pgBackRest has no stanza '$stanza' on this host; docs/backups.md says what its configuration needs, then: invoke provision --env=…"
        return 1
    }
}

# pgbackrest_ask: read what the server says of itself into data, unit and so on. Status 1 sets said.
pgbackrest_ask() {
    answer=$(sql postgres --field-separator="$us" <<'SQL'
select current_setting('data_directory'), pg_is_in_recovery(), system_identifier, current_setting('archive_mode'), timeline_id,
    (select setting from pg_config where name = 'BINDIR'), (select count(*) from pg_stat_replication),
    (select setting from pg_settings where name = 'wal_segment_size')
    from pg_control_system(), pg_control_checkpoint();
SQL
    ) || {
        explain_postgres "$scratch/sql.err"
        return 1
    }
    IFS=$us read -r data recovering system_id archive_mode timeline bin standbys segment <<END_OF_ANSWER
$answer
END_OF_ANSWER
    pgbackrest_unit
}

# pgbackrest_unit: set unit to the systemd unit that the server runs in.
pgbackrest_unit() {
    unit=
    # Whoever has the server's rights names the folder, and puts there what it likes: also a FIFO, or a line without end.
    postmaster=$(cd / && timeout --kill-after=1 5 runuser -u postgres -- head -c 20 -- "$data/postmaster.pid" 2>/dev/null | tr -d '\0' | head -n 1) || postmaster=
    case $postmaster in
        '' | *[!0-9]*) ;;
        *)
            while IFS= read -r line; do
                case $line in *.service) unit=${line##*/} ;; esac
            done <"/proc/$postmaster/cgroup" 2>/dev/null || :
            ;;
    esac
    # What is stopped later by this name is a server of PostgreSQL, whatever stands in that file.
    case $unit in
        postgresql*.service) case $unit in *[!A-Za-z0-9@._:-]*) unit= ;; esac ;;
        *) unit= ;;
    esac
    [ -n "$unit" ] && return
    said="the server of database $name, whose data is in $data, runs in no unit postgresql*.service of systemd"
    return 1
}

# pgbackrest_choose LSN: print the label of the newest base backup from which this point of the present timeline can be reached,
# if any. After a restore, backups may be of a timeline that this one has left before they ended.
pgbackrest_choose() {
    printf '%s' "select pg_read_file('pg_wal/' || lpad(upper(to_hex($timeline)), 8, '0') || '.history', 0, 1000000, true)" |
        sql postgres >"$scratch/history" || : >"$scratch/history"
    jq -r --arg lsn "$1" --argjson timeline "$timeline" --rawfile history "$scratch/history" '
        def place: split("/") | map(("00000000" + ascii_upcase)[-8:]) | join("");
        def digits: explode | reduce .[] as $c (0; . * 16 + (if $c > 57 then $c - 55 else $c - 48 end));
        ([$history | split("\n")[] | capture("^(?<timeline>[0-9]+)\\s+(?<left>[0-9A-Fa-f]+/[0-9A-Fa-f]+)")
            | {key: .timeline, value: (.left | place)}] | from_entries + {($timeline | tostring): ($lsn | place)}) as $ends |
        .db[-1].id as $db | [.backup[]? | select(.error != true and .database.id == $db and .archive.stop != null) |
            select((.lsn.stop | place) <= ($ends[.archive.stop[0:8] | ascii_upcase | digits | tostring] // ""))] | last | .label // ""
    ' "$scratch/info.json"
}

# pgbackrest_archive_of LABEL: set archive_id to the part of the archive that has the WAL of a base backup.
pgbackrest_archive_of() {
    archive_id=$(jq -r --arg base "$1" '([.backup[] | select(.label == $base)][0].database.id) as $db |
        [.archive[] | select(.database.id == $db)][0].id | strings' "$scratch/info.json")
    case $archive_id in '' | *[!0-9.-]*) said="stanza $stanza has no archive of WAL" && return 1 ;; esac
}

# pgbackrest_unbroken LABEL WAL BYTES: whether all WAL from the beginning of a base backup up to this file of it, of which each has
# BYTES, is in the archive; else sets said. Of a number that is there on any timeline recovery finds the one it needs.
pgbackrest_unbroken() {
    pgbackrest_archive_of "$1" || return 1
    pgbackrest_run --recurse --filter='/[0-9A-F]{24}-' repo-ls "archive/$stanza/$archive_id" >"$scratch/wal.list" 2>&1 || {
        said="cannot list the WAL of stanza $stanza: $(pgbackrest_said "$scratch/wal.list")"
        return 1
    }
    hole=$(jq -nrR --arg last "$2" --argjson bytes "$3" --arg base "$1" --slurpfile info "$scratch/info.json" '
        def digits: explode | reduce .[] as $c (0; . * 16 + (if $c > 57 then $c - 55 else $c - 48 end));
        def number: (.[8:16] | digits) * (4294967296 / $bytes) + (.[16:24] | digits);
        ([$info[0].backup[] | select(.label == $base)][0].archive.start | number) as $from |
        (reduce (inputs | capture("/(?<wal>[0-9A-F]{24})-") | .wal | number | tostring) as $n ({}; .[$n] = true)) as $there |
        [range($from; ($last | number) + 1) | select($there[tostring] | not)] | if length == 0 then "" else "\(length) files of WAL are" end
    ' "$scratch/wal.list") || hole='the list of its WAL cannot be read; some may be'
    [ -n "$hole" ] || return 0
    said="$hole missing in the archive of stanza $stanza between base backup $1 and $2"
    return 1
}

# pgbackrest_archived LABEL WAL SECONDS: whether a file of WAL comes into the archive in that time, beside a base backup. The archive
# itself is asked: what archive_command tells the server may be wrong.
pgbackrest_archived() {
    pgbackrest_archive_of "$1" || return 1
    archived_end=$(($(date +%s) + $3))
    while :; do
        pgbackrest_run --filter="^$2-" repo-ls "archive/$stanza/$archive_id/$(printf '%s' "$2" | cut -c1-16)" >"$scratch/get" 2>&1 || :
        ! grep -q "^$2-" "$scratch/get" || return 0
        [ "$(date +%s)" -lt "$archived_end" ] || break
        sleep 0.2
    done
    said=$(pgbackrest_said "$scratch/get")
    archived_by=$(sql postgres --field-separator=' ' <<'SQL'
select failed_count, 'times, the last time for', coalesce(last_failed_wal, 'none') from pg_stat_archiver
    where last_failed_time > coalesce(last_archived_time, '-infinity')
SQL
    ) || archived_by=
    said="its WAL ($2) did not come into the archive of stanza $stanza within $3 s${said:+ ($said)}${archived_by:+; archive_command failed $archived_by}; see archive_command, and: pgbackrest --stanza=$stanza check"
    return 1
}

# pgbackrest_create PLACE ID WHEN: PLACE.json gets the entry. Databases of one stanza share a point.
pgbackrest_create() {
    need pgbackrest
    stanza=$(cat "$scratch/methods/$name/stanza")
    archive_timeout=$(cat "$scratch/methods/$name/archive_timeout")
    if [ ! -s "$scratch/point.$stanza" ]; then
        pgbackrest_ask || fail database "cannot back up database $name: $said"
        [ "$recovering" = f ] || fail replica "cannot back up database $name: its server is a replica, which makes no restore points; let via name the primary's host"
        [ "$archive_mode" != off ] || fail archiving "cannot back up database $name: archive_mode of its server is off; docs/backups.md says what pgBackRest needs"
        pgbackrest_info || fail stanza "cannot back up database $name: $said"
        # jq would round it.
        grep -Eq "\"system-id\": ?${system_id}[,}]" "$scratch/info.all" ||
            fail stanza "stanza $stanza is of another server than the one of database $name; correct slipway_databases[].backup.stanza, or its pg1-path"
        now_at=$(printf '%s' 'select pg_current_wal_lsn()' | sql postgres) || fail database "cannot back up database $name: its server does not answer"
        label=$(pgbackrest_choose "$now_at")
        if [ "$3" = now ] || [ -z "$label" ]; then
            note "pgbackrest: $([ -n "$label" ] && echo an incremental || echo the first) backup of stanza $stanza"
            pgbackrest_run --type=incr backup >"$scratch/out" 2>"$scratch/err" ||
                fail pgbackrest "pgbackrest backup of stanza $stanza failed: $(pgbackrest_said "$scratch/out")"
            pgbackrest_info || fail stanza "cannot back up database $name: $said"
        fi
        point=slipway-$2
        point=$(printf '%s' "$point" | cut -c1-63)
        found=$(printf '%s' "select lsn, pg_walfile_name(lsn) from pg_create_restore_point(:'point') as lsn" | sql postgres --set=point="$point" --field-separator=' ') || {
            explain_postgres "$scratch/sql.err"
            fail "$code" "cannot make a restore point for database $name: $said"
        }
        lsn=${found% *} wal=${found#* }
        label=$(pgbackrest_choose "$lsn")
        [ -n "$label" ] || fail pgbackrest "stanza $stanza has no base backup from which restore point $point can be reached; run: invoke backup --env=…"
        printf '%s' 'select pg_switch_wal()' | sql postgres >/dev/null || :
        pgbackrest_archived "$label" "$wal" "$archive_timeout" || fail archiving "restore point $point of database $name is no backup: $said"
        pgbackrest_unbroken "$label" "$wal" "$segment" ||
            fail archiving "restore point $point of database $name cannot be reached, so it is no backup: $said; a new base backup begins anew: invoke backup --env=…"
        printf '%s' "select json_agg(datname) from ($others_of_cluster) as others" | sql postgres >"$scratch/all.json" || echo '[]' >"$scratch/all.json"
        jq -c --arg stanza "$stanza" --arg point "$point" --arg lsn "$lsn" --arg wal "$wal" --argjson timeline "$timeline" --argjson segment "$segment" --arg base "$label" \
            --arg unit "$unit" --arg data "$data" --arg bin "$bin" --slurpfile all "$scratch/all.json" '
            {method: "pgbackrest", stanza: $stanza, point: $point, lsn: $lsn, wal: $wal, segment: $segment, timeline: $timeline, label: $base, unit: $unit,
                data: $data, bin: $bin, cluster: ($all[0] // []), bytes: ([.backup[]? | select(.label == $base)][0].info.size // 0)}' \
            "$scratch/info.json" >"$scratch/point.$stanza"
    fi
    jq -c --arg name "$name" '{name: $name} + .' "$scratch/point.$stanza" >"$scratch/entry.json"
    cp "$scratch/entry.json" "$1.json"
}

# pgbackrest_read FILE [FILTER]: set stanza, point and so on from an entry, each held against its pattern, because of it names and
# words of commands are made.
pgbackrest_read() {
    read_entry=$(jq -r "${2:-.} | [.stanza, .point, .wal, (.timeline | tostring), .label, .unit, .data, .bin, (.bytes | floor | tostring), (.segment | floor | tostring)] | map(strings) | join(\"\u001f\")" "$1" 2>/dev/null) || return 1
    IFS=$us read -r stanza point wal timeline label unit data bin bytes segment <<END_OF_ENTRY
$read_entry
END_OF_ENTRY
    pgbackrest_is_stanza "$stanza" || return 1
    case $point in slipway-*) case $point in *[!A-Za-z0-9._+-]*) return 1 ;; esac ;; *) return 1 ;; esac
    case $wal in *[!0-9A-F]* | '') return 1 ;; esac
    case $timeline in *[!0-9]* | '') return 1 ;; esac
    case $bytes in *[!0-9]* | '') return 1 ;; esac
    case $segment in *[!0-9]* | '') return 1 ;; esac
    case $label in *[!0-9FDI_-]* | '' | -*) return 1 ;; esac
    case $unit in postgresql*.service) case $unit in *[!A-Za-z0-9@._:-]*) return 1 ;; esac ;; *) return 1 ;; esac
    case $data in /*) case $data in *[!A-Za-z0-9._/@+-]*) return 1 ;; esac ;; *) return 1 ;; esac
    case $bin in /*) case $bin in *[!A-Za-z0-9._/+-]*) return 1 ;; esac ;; *) return 1 ;; esac
}

# pgbackrest_reachable: whether the base backup and the WAL of the point that was read are there still; else sets said.
pgbackrest_reachable() {
    pgbackrest_info || return 1
    jq -e --arg base "$label" 'any(.backup[]?; .label == $base and .error != true)' "$scratch/info.json" >/dev/null || {
        said="base backup $label of restore point $point has expired from stanza $stanza (see repo1-retention-full of pgBackRest)"
        return 1
    }
    pgbackrest_unbroken "$label" "$wal" "$segment" || {
        said="restore point $point cannot be reached: $said"
        return 1
    }
}

# pgbackrest_apart FOLDER UNIT COMMAND...: run as the server's user in a unit that sees FOLDER at /var/lib/slipway/cluster, and
# can write nowhere else, so that whatever the configuration says, nothing that is live is written to.
pgbackrest_apart() {
    apart_folder=$1
    apart_unit=$2
    shift 2
    systemd-run --quiet --collect --unit="$apart_unit" --uid=postgres --property=PrivateTmp=yes --property=ProtectSystem=strict \
        --property=TemporaryFileSystem=/var/lib/slipway:mode=0755 --property="BindPaths=$(escape "$apart_folder"):/var/lib/slipway/cluster" \
        --property=ReadWritePaths="-/var/log/pgbackrest -/var/spool/pgbackrest" --property=Nice=10 --property=RuntimeMaxSec="$database_limit" \
        --property=NoNewPrivileges=yes --property=KillSignal=SIGINT --property=TimeoutStopSec=20 "$@"
}

# pgbackrest_drill PLACE ID MIN-TABLES CHECKS FOLDER: restore into a scratch cluster, which listens on a socket of its own only and
# archives nothing, and ask that.
pgbackrest_drill() {
    need pgbackrest
    pgbackrest_read "$1.json" || { emit problem "the entry of database $name in the backup cannot be read"; return; }
    if [ "$(cat "$scratch/cluster" 2>/dev/null)" != "$stanza" ]; then
        pgbackrest_start_scratch "$5" || { emit problem "database $name cannot be restored into a scratch cluster: $said"; return; }
        printf '%s\n' "$stanza" >"$scratch/cluster"
    fi
    db_socket=/run/slipway-drill-$app db_port=5432
    judge_database "$name" "$3" "$4" >"$scratch/wrong"
    while IFS= read -r sentence; do emit problem "$sentence"; done <"$scratch/wrong"
    emit loaded "$name"
    emit unproven "database $name was asked in a scratch cluster of its own, which a restored release cannot reach"
}

# pgbackrest_start_scratch FOLDER: status 1 sets said.
pgbackrest_start_scratch() {
    scratch_cluster=$1/cluster
    scratch_unit=slipway-$app-drill-cluster
    pgbackrest_reachable || return 1
    need_room "$1" "$bytes" || return 1
    [ -x "$bin/postgres" ] || { said="there is no $bin/postgres on this host"; return 1; }
    # The entry names it: whoever could write that makes no program of its own one of the server's.
    find_foreign "$bin/postgres"
    [ -z "$foreign" ] || { said="$bin/postgres is not root's alone: others can change $foreign"; return 1; }
    # A server of another stanza, or of a drill that was ended, would go on writing there.
    pgbackrest_drill_end "$1" "$app" || { said="$scratch_cluster cannot be removed"; return 1; }
    mkdir "$scratch_cluster" "$scratch_cluster/data" "$scratch_cluster/tablespaces" || { said="$scratch_cluster cannot be made"; return 1; }
    # Whoever may enter the folder of its socket is the server's user, or root. The live server's files of settings may be
    # elsewhere, and say where to listen and what to archive: none of it counts here. All processes of the server's user can
    # reach this folder while one of them works in it, so it is root's, and root writes nothing here after they can.
    printf 'local all all trust\n' >"$scratch_cluster/hba"
    : >"$scratch_cluster/ident"
    : >"$scratch_cluster/postgresql.conf"
    chmod 0644 "$scratch_cluster/hba" "$scratch_cluster/ident" "$scratch_cluster/postgresql.conf"
    chmod 0700 "$scratch_cluster/data" "$scratch_cluster/tablespaces"
    chown postgres: "$scratch_cluster/data" "$scratch_cluster/tablespaces"
    chmod 0755 "$scratch_cluster"
    inside=/var/lib/slipway/cluster
    # Tablespaces and links to other disks become folders in the scratch folder, and not what is live.
    if ! pgbackrest_apart "$scratch_cluster" "$scratch_unit-restore" --pipe --wait -- pgbackrest --stanza="$stanza" --pg1-path="$inside/data" \
        --tablespace-map-all="$inside/tablespaces" --set="$label" --type=name --target="$point" --target-timeline="$timeline" \
        --target-action=promote --archive-mode=off --log-level-console=error --log-level-stderr=off restore >"$scratch/out" 2>&1 </dev/null; then
        said="pgbackrest restore failed: $(pgbackrest_said "$scratch/out")"
        ! lacks_room "$1" || :
        return 1
    fi
    set -- "$bin/postgres" -D "$inside/data"
    for setting in config_file="$inside/postgresql.conf" hba_file="$inside/hba" ident_file="$inside/ident" listen_addresses= port=5432 \
        unix_socket_directories="/run/slipway-drill-$app" archive_mode=off archive_command= hot_standby=off ssl=off logging_collector=off \
        log_destination=stderr shared_buffers=64MB max_connections=20 shared_preload_libraries= huge_pages=off external_pid_file= \
        autovacuum=off max_logical_replication_workers=0 cluster_name=slipway-drill; do
        set -- "$@" -c "$setting"
    done
    pgbackrest_apart "$scratch_cluster" "$scratch_unit" --property=RuntimeDirectory="slipway-drill-$app" --property=RuntimeDirectoryMode=0700 \
        -- "$@" 2>"$scratch/err" || { said=$(last_line_of "$scratch/err"); return 1; }
    db_socket=/run/slipway-drill-$app db_port=5432
    scratch_end=$(($(date +%s) + database_limit))
    while :; do
        [ "$(printf '%s' 'select pg_is_in_recovery()' | sql postgres 2>/dev/null)" != f ] || return 0
        systemctl is-active --quiet "$scratch_unit" || break
        [ "$(date +%s)" -lt "$scratch_end" ] || break
        sleep 0.2
    done
    journalctl --sync 2>/dev/null || :
    journalctl --unit="$scratch_unit" --lines=20 --output=cat --no-pager 2>/dev/null | grep -E 'FATAL|PANIC|ERROR' >"$scratch/err" || :
    said="its server did not come to restore point $point: $(last_line_of "$scratch/err")"
    db_socket=
    return 1
}

# pgbackrest_drill_end FOLDER APP
pgbackrest_drill_end() {
    [ -d "$1/cluster" ] || return 0
    systemctl stop "slipway-$2-drill-cluster.service" "slipway-$2-drill-cluster-restore.service" 2>/dev/null || :
    rm -rf "$1/cluster"
}

# pgbackrest_restore PLACE ID MIN-TABLES CHECKS STAMP BEFORE OVERRULED APP: take the whole cluster back to the restore point. What was
# there before can be come back to, by the restore point of BEFORE.
pgbackrest_restore() {
    # The unit that restores begins anew after a boot, when nobody looks whose a program below /usr/local is, so it runs none. It
    # finds out only when it has stopped the server.
    restore_path=$PATH
    PATH=/usr/sbin:/usr/bin:/sbin:/bin
    need pgbackrest psql
    PATH=$restore_path
    restoring=$state/restoring
    case $(systemctl show --property=ActiveState --value "slipway-restore-$8.service") in
        activating | active) fail busy "a restore is at work on this host already, in the unit slipway-restore-$8.service; nothing was restored" ;;
    esac
    pgbackrest_read "$1.json" || fail damaged "the entry of database $name in backup $2 cannot be read; nothing was restored"
    pgbackrest_reachable || fail not-in-backup "$said; nothing was restored"
    target="$point $timeline $label" target_data=$data
    jq -r '.cluster[]? | strings' "$1.json" >"$scratch/cluster.names"
    if pgbackrest_ask; then
        [ "$data" = "$target_data" ] || fail cluster "restore point $point is of the server in $target_data, and database $name is in $data now; nothing was restored"
        [ "$recovering" = f ] || fail replica "the server of database $name is a replica; let via name the primary's host; nothing was restored"
        printf '%s' "$others_of_cluster" | sql postgres >"$scratch/cluster.names" ||
            fail database "cannot ask the server of database $name; nothing was restored"
        [ "$standbys" = 0 ] || [ "$7" = yes ] ||
            fail cluster "$standbys replicas follow the server of database $name, and would have to be made anew after a restore; nothing was restored"
    else
        note "the server of database $name does not answer: $said"
        pgbackrest_read "$1.json"
    fi
    others=
    while IFS= read -r other; do
        # PostgreSQL takes every name, also one that leads out of this folder.
        case $other in
            */* | . | ..) other_stanza= ;;
            *) other_stanza=$(cat "$scratch/methods/$other/stanza" 2>/dev/null) || other_stanza= ;;
        esac
        [ "$other_stanza" = "$stanza" ] || others="$others${others:+, }$(printf '%s' "$other" | tr -d '[:cntrl:]' | cut -c1-63)"
    done <"$scratch/cluster.names"
    [ -z "$others" ] || [ "$7" = yes ] ||
        fail cluster "pgBackRest restores the whole cluster, and in that of database $name there are others, which would go back too: $(printf '%s' "$others" | cut -c1-300); nothing was restored"
    restored_unit=$unit
    before='- - -'
    if [ "$6" != - ]; then
        pgbackrest_read "$6" ".databases[] | select(.name == \"$name\")" || fail damaged "the record of what is there now cannot be read; nothing was restored"
        before="$point $timeline $label"
    fi
    mkdir -p "$restoring"
    rm -f "$restoring"/*
    printf '%s\n' "$stanza $restored_unit" "$db_port $db_user" "$target" "$before" >"$restoring/plan"
    note "restoring the cluster of stanza $stanza to restore point ${target%% *}"
    restore_cluster "$8" "$restoring" "$database_limit" || fail restoring "the restore of database $name has not ended: $said"
    if [ "$restore_result" = restored ]; then
        judge_database "$name" "$3" "$4" >"$scratch/wrong"
        if [ -s "$scratch/wrong" ] && [ "$before" != '- - -' ]; then
            note 'it is not good; going back to what was there before'
            printf 'it is not good: %s\n' "$(tr '\n' ';' <"$scratch/wrong" | cut -c1-300)" >"$restoring/undoing"
            restore_cluster "$8" "$restoring" "$database_limit" || fail restoring "backup $2 is restored and not good, and going back has not ended: $said"
        elif [ -s "$scratch/wrong" ]; then
            fail damaged "backup $2 is restored, and not good: $(tr '\n' ';' <"$scratch/wrong")"
        fi
    fi
    case $restore_result in
        restored) rm -rf "$restoring" ;;
        undone*) fail damaged "backup $2 could not be restored: ${restore_result#undone }; what was there before is back, as of restore point ${before%% *}" ;;
        *) fail cluster-down "backup $2 could not be restored, and the server of database $name is DOWN ($restored_unit): ${restore_result#down }" ;;
    esac
    kept=
}

# pgbackrest_delete: pgBackRest has a retention of its own, for what it keeps.
pgbackrest_delete() { :; }
