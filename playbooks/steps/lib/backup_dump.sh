# shellcheck shell=sh disable=SC2034,SC2154
# slipway_databases[].backup.method: dump. pg_dump's file is in restic's snapshot. See backup_methods.sh.

# include owner_sql.sh
# include contents.sh

# dump_create PLACE: the dump becomes PLACE.dump, and what the tables hold in it PLACE.contents.
dump_create() {
    need pg_dump pg_restore
    dump=$1.dump
    # Not compressed here: restic compresses better, and stores data that has not changed since the last dump only once.
    dumped=0
    begin_contents
    # It does not get what begin_contents writes to the owner's session.
    pg pg_dump --format=custom --compress=0 --dbname="$name" ${dump_snapshot:+"--snapshot=$dump_snapshot"} >"$dump" 2>"$scratch/err" 7>&- || dumped=$?
    end_contents "$1.contents"
    if [ "$dumped" -ne 0 ]; then
        ! lacks_room "$state" || fail no-space "$said (while dumping database $name)"
        explain_postgres "$scratch/err" "$dumped"
        fail "$code" "cannot dump database $name: $said"
    fi
    # A dump that cannot be listed cannot be restored. All checks of restic would pass an empty file.
    pg_restore --list "$dump" >"$scratch/list" 2>"$scratch/err" || fail database "the dump of $name is not readable: $(said_by "$scratch/err")"
    jq --compact-output --null-input --arg name "$name" --arg method dump --arg file "$dump" --argjson bytes "$(stat -c %s "$dump")" \
        --arg sha256 "$(sha256sum <"$dump" | cut -c1-64)" \
        --argjson tables "$(awk '$4 == "TABLE" && $5 != "DATA" && $5 != "ATTACH"' "$scratch/list" | wc -l)" \
        '$ARGS.named' >"$scratch/entry.json"
}

# judge_dump DATABASE PLACE MIN-TABLES CHECKS: print a sentence for each fault of what was loaded.
judge_dump() {
    judge_database "$1" "$3" "$4"
    judge_contents "$1" "$2.contents"
}

# dump_drill PLACE ID MIN-TABLES CHECKS: load the dump into a scratch database, and ask that. It stays for drill_start.
dump_drill() {
    dump=$1.dump
    fresh=$(cut_name slipway_drill_ "$name" '')
    if [ ! -s "$dump" ]; then
        emit problem "the dump of database $name is $([ -e "$dump" ] && echo empty || echo 'not in the backup')"
        return
    fi
    if ! is_scratch "$state" "$fresh"; then
        found=0
        is_there "$fresh" || found=$?
        if [ "$found" -eq 0 ]; then
            emit problem "there is a database $fresh already, which no drill of this host has made, so the dump of $name cannot be loaded; rename that database, or drop it if it was left by a drill before December 2026"
            return
        fi
        if [ "$found" -eq 2 ]; then
            explain_postgres "$scratch/sql.err"
            emit problem "cannot make a scratch database for $name: $said"
            return
        fi
        made_scratch "$state" "$fresh"
    fi
    if ! drop_database "$fresh" || ! create_database "$fresh" "$name"; then
        explain_postgres "$scratch/sql.err"
        emit problem "cannot make a scratch database for $name: $said"
        return
    fi
    loaded=0
    load_into "$fresh" "$dump" || loaded=$?
    if [ "$loaded" -ne 0 ]; then
        explain_postgres "$scratch/sql.err" "$loaded"
        emit problem "the dump of database $name cannot be loaded: $said"
        return
    fi
    judge_dump "$fresh" "$1" "$3" "$4" >"$scratch/wrong"
    while IFS= read -r sentence; do emit problem "$sentence"; done <"$scratch/wrong"
    emit loaded "$name"
}

# dump_drill_end: drop the scratch database of the selected database.
dump_drill_end() {
    fresh=$(cut_name slipway_drill_ "$name" '')
    is_scratch "$state" "$fresh" || return 0
    if drop_database "$fresh"; then
        forget_scratch "$state" "$fresh"
    else
        explain_postgres "$scratch/sql.err"
        emit left "the scratch database $fresh could not be dropped: $said"
    fi
}

# dump_undo: for a step's EXIT trap: open the database again, and drop what was restored and did not come into its place.
dump_fresh=
dump_closed=
dump_undo() {
    [ -z "$dump_closed" ] || printf '%s' 'alter database :"it" allow_connections true' | sql postgres --set=it="$dump_closed" || :
    [ -z "$dump_fresh" ] || drop_database "$dump_fresh" || :
}

# dump_broken SENTENCE [STATUS]
dump_broken() {
    explain_postgres "$scratch/sql.err" "${2:-}"
    fail "$code" "$1: $said"
}

# dump_restore PLACE ID MIN-TABLES CHECKS STAMP: load the dump into a new database, judge it, then swap the names in one transaction.
# The old database stays as NAME_before_$STAMP, so nothing is lost.
dump_restore() {
    need psql pg_restore
    old=$(cut_name '' "$name" "_before_$5")
    coming=$(cut_name '' "$name" "_restored_$5")
    exists=$(printf '%s' "select 1 from pg_database where datname = :'name'" | sql postgres --set=name="$name") ||
        dump_broken "cannot reach the server of database $name"
    # A database that exists already was not made by this step, so it must not be dropped.
    ! is_there "$coming" || fail database "there is a database $coming already; $name is as it was"
    dump_fresh=$coming
    create_database "$dump_fresh" "$name" || dump_broken "cannot make a database to restore $name into"
    # The user postgres may not be able to read the scratch folder, so the dump comes on standard input.
    loaded=0
    load_into "$dump_fresh" "$1.dump" || loaded=$?
    [ "$loaded" -eq 0 ] || dump_broken "cannot load the dump of $name" "$loaded"
    judge_dump "$dump_fresh" "$1" "$3" "$4" >"$scratch/wrong"
    [ ! -s "$scratch/wrong" ] || fail damaged "backup $2 is not good enough to go back to: $(tr '\n' ';' <"$scratch/wrong")"
    kept=
    if [ "$exists" = 1 ]; then
        # Clients are disconnected and cannot return until the names are swapped, which takes milliseconds.
        dump_closed=$name
        sql postgres --set=name="$name" --set=old="$old" --set=fresh="$dump_fresh" >/dev/null <<'SQL' || dump_broken "cannot swap $name for what was restored; it is as it was"
alter database :"name" allow_connections false;
select pg_terminate_backend(pid) from pg_stat_activity where datname = :'name';
begin;
alter database :"name" rename to :"old";
alter database :"fresh" rename to :"name";
commit;
alter database :"old" allow_connections true;
SQL
        dump_closed=
        kept=$old
    else
        printf '%s' 'alter database :"fresh" rename to :"name"' | sql postgres --set=fresh="$dump_fresh" --set=name="$name" >/dev/null ||
            dump_broken "cannot put what was restored in the place of $name"
    fi
    dump_fresh=
}

# dump_delete: restic removes it with its snapshot.
dump_delete() { :; }
