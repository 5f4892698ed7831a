# shellcheck shell=sh disable=SC2034,SC2154
# Statements as the database user that migrates, for whom use_database was called (postgres.sh).
#
# They come from a release, so psql runs as a user of the system that exists for that moment only (DynamicUser= of
# systemd.exec(5)): whatever the statements could make psql do on this host, it has no rights here. It is looked for where this
# step looks for programs: systemd itself would take one of /usr/local first, which may be somebody's, and tell it the password.
# include at_most.sh

# More than a controller reads of an answer. Whoever may write to the database can make what it says as long as they like.
owner_kb=16384

# use_owner NAME HOST PORT USER PASSWORD SERVED-BY: select a database, and the user that migrates it.
use_owner() {
    owner_password=$5
    use_database "$1" "$2" "$3" "$4" "$5" '' "$6"
}

# owner_sql FILE DATABASE SECONDS: run psql on FILE. The password is the first line of its standard input, so no command line and
# no file has it. If FILE is a FIFO, this ends when whoever writes to it has closed it, or writes after psql has ended.
owner_sql() {
    is_known_server || return 2
    { printf '%s\n' "$owner_password" && cat "$1"; } | owner_psql "$2" "$3"
}

# owner_psql DATABASE SECONDS: status as psql's; $scratch/owner.ended is there then.
owner_psql() {
    owner_status=0
    # shellcheck disable=SC2016
    systemd-run --quiet --pipe --wait --collect --service-type=exec --property=DynamicUser=yes --property=RuntimeMaxSec="$2" \
        --property=LimitFSIZE="${owner_kb}K" --property=LimitAS=1G --setenv=PATH="$PATH" \
        --property=ProtectHome=yes --property=PrivateDevices=yes --property=CapabilityBoundingSet= --property=RestrictNamespaces=yes \
        --property=ProtectProc=invisible --property=Nice=5 \
        -- /bin/sh -c 'IFS= read -r PGPASSWORD && export PGPASSWORD PGCONNECT_TIMEOUT=10 PGCLIENTENCODING=UTF8 PGAPPNAME=slipway \
            PGOPTIONS="-c slipway.direct=yes" &&
            exec psql "$$@" --no-psqlrc --no-password --quiet --tuples-only --no-align --file=-' \
        psql --host="$db_host" --port="$db_port" --username="$db_user" --dbname="$1" || owner_status=$?
    : >"$scratch/owner.ended"
    return "$owner_status"
}

# explain_owner [STATUS]: explain why owner_sql failed, whose output is in $scratch/out: set code and said.
explain_owner() {
    explain_postgres "$scratch/sql.err" "${1-}"
    case $said in
        *'unsupported startup parameter'*)
            said="$(explain_pooler) ($said)"
            code=migration-pooler
            ;;
    esac
    ! is_cut "$scratch/out" "$owner_kb" || said="its answer is larger than $((owner_kb / 1024)) MB, which is all that is read"
}

# plain EXPRESSION: print the SQL that makes it one short word of a line: whoever names a table, or writes a row, may put the end
# of the line into it, and what looks like the next one.
plain() { printf "pg_catalog.regexp_replace(pg_catalog.left(%s::pg_catalog.text, 300), '[[:cntrl:]]+', ' ', 'g')" "$1"; }

# literal TEXT: print it as a string of SQL.
literal() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/''/g")"; }

# The table is a part of the database, so a backup has it, and a restored database tells what it has. The comment is its format.
#
# Slipway's own statements find only what is PostgreSQL's: the owner of the database chooses its search_path, which may have
# another's functions, operators and types before those. What else is to be found is named with its schema.
owner_head() {
    cat <<'SQL'
\set ON_ERROR_STOP on
\set VERBOSITY verbose
\set SHOW_CONTEXT never
\unset DBNAME
\unset ENCODING
\unset HOST
\unset PORT
\unset USER
\unset VERSION
\unset VERSION_NAME
\unset VERSION_NUM
\unset SERVER_VERSION_NAME
\unset SERVER_VERSION_NUM
set search_path = '';
set client_min_messages = warning;
set standard_conforming_strings = on;
select pg_catalog.set_config('client_connection_check_interval', '2s', false)
    where pg_catalog.current_setting('server_version_num')::int >= 140000 \g /dev/null
SQL
}

# The number of the advisory lock that lets only one task migrate a database; it ends with its session.
owner_lock='1936484720, 1'

# direct_or_quit MARK: print what writes "MARK pooler" and ends psql if a pooler is between, which gives a session to others while
# somebody still counts on its lock. A pooler refuses an option of the connection, or drops it.
direct_or_quit() {
    cat <<SQL
select pg_catalog.current_setting('slipway.direct', true) is distinct from 'yes' as slipway_pooler \\gset
\\if :slipway_pooler
\\warn $1 pooler
\\quit
\\endif
SQL
}
# What a pooler's answer means; use_database has set the address.
explain_pooler() {
    printf "at %s port %s is a connection pooler, which gives sessions to others: the lock of migrations is worth nothing there. Let slipway_databases name PostgreSQL's own address" \
        "$db_host" "$db_port"
}

# lock_holder MARK: print what writes "MARK holder PID USER" about the session that has the lock. Every user of the database who may
# connect to it may take it.
lock_holder() {
    cat <<SQL
select coalesce((select pg_catalog.concat(l.pid, ' ', $(plain a.usename)) from pg_catalog.pg_locks l
    join pg_catalog.pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and l.classid = ${owner_lock%,*} and l.objid = ${owner_lock#*, } and l.objsubid = 2 and l.granted
    and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()) limit 1), '- -') as slipway_holder \\gset
\\warn $1 holder :slipway_holder
SQL
}
# told_busy SECONDS HOLDER: print a sentence about somebody who has had the lock for so long; HOLDER is what lock_holder writes.
told_busy() {
    case ${2#* } in
        '' | - | "$db_user") printf 'another task has migrated database %s for the last %s s' "$name" "$1" ;;
        *)
            printf 'the lock of migrations of %s was held for %s s by its user %s, who does not migrate it; run there, as a superuser, select pg_terminate_backend(%s), and see why that user takes it' \
                "$name" "$1" "${2#* }" "${2%% *}"
            ;;
    esac
}

# own_table MARK: print what writes "MARK foreign" and ends psql if the table of migrations is there and not this user's. Whoever
# made it could put triggers, or a view's functions, there, which would run as this user.
own_table() {
    cat <<SQL
select pg_catalog.to_regclass('slipway.migrations') is not null as slipway_there \\gset
select :'slipway_there'::bool and not exists (select from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace join pg_catalog.pg_roles r on r.oid = c.relowner and r.oid = n.nspowner
    where n.nspname = 'slipway' and c.relname = 'migrations' and c.relkind = 'r' and r.rolname = current_user) as slipway_foreign \\gset
\\if :slipway_foreign
\\warn $1 foreign
\\quit
\\endif
SQL
}
foreign_table="the schema slipway, or its table migrations, is somebody else's: give both to the user that migrates, or drop them"
