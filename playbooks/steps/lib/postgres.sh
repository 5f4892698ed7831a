# shellcheck shell=sh disable=SC2034,SC2154
# Shared by every step that uses PostgreSQL. Needs a private folder $scratch, and database_limit: the number of seconds that one
# of PostgreSQL's programs may take, because a lock, or a view that never ends, would stop it for good.
#
# Everybody who may connect to a database can have put functions, views and settings there, with any name and in any schema. So
# Slipway's own statements find only what belongs to PostgreSQL.

# include at_most.sh
# include listeners.sh

# What Slipway reads of an answer, and of what a database says beside it; and what psql may need for one. Whoever owns the database
# can have a table, a view or a function say as much as it likes. PostgreSQL's own programs keep an answer in memory.
answer_kb=64
messages_kb=1024
psql_kb=1048576

# Where a server listens on a socket in another folder than usual: that folder.
db_socket=

# use_database NAME HOST PORT USER PASSWORD MIN-TABLES SERVED-BY: select a database. Without HOST the local socket is used, as
# the system's user postgres.
use_database() {
    name=$1 db_host=$2 db_port=$3 db_user=$4
    # pgpass(5): the password is in a file and not in the environment, which every child process would get.
    printf '*:*:*:*:%s\n' "$(printf '%s' "$5" | sed 's/[\\:]/\\&/g')" >"$scratch/pgpass"
    db_secret=${5:+yes} db_served_by=${7-}
}

# is_known_server: whether the server may get the password. The server chooses the form: a program that takes its port on this
# host while it is down may ask for the plain password.
is_known_server() {
    [ "$db_secret" = yes ] || return 0
    ! may_tell "$db_host" "$db_port" "$(numbers_of postgres pgbouncer "$db_served_by")" || return 0
    if [ -n "$stranger" ]; then
        echo "at $db_host port $db_port listens a program of $stranger, which is not told the password; if it is PostgreSQL, say served_by: $stranger in slipway_databases"
    else
        echo "nobody listens at $db_host port $db_port"
    fi >&2
    return 1
}

# pg PROGRAM ARGUMENT...: run one of PostgreSQL's own programs for the server of the selected database.
pg() {
    is_known_server || return
    pg_program=$1
    shift
    # The user postgres may not be able to enter the current folder.
    cd /
    # The program does not get the lock of backups (8): if it hangs, it would hold the lock after this step.
    if [ -z "$db_host" ]; then
        [ -z "$db_socket" ] || set -- --host="$db_socket" "$@"
        PGCONNECT_TIMEOUT=10 timeout --kill-after=5 "$database_limit" \
            runuser -u postgres -- "$pg_program" --port="$db_port" --username="$db_user" --no-password "$@" 8>&-
    else
        PGCONNECT_TIMEOUT=10 PGPASSFILE=$scratch/pgpass timeout --kill-after=5 "$database_limit" \
            "$pg_program" --host="$db_host" --port="$db_port" --username="$db_user" --no-password "$@" 8>&-
    fi
}

# sql DATABASE OPTION...: run Slipway's own statements from standard input. psql itself quotes --set values (:"name", :'value').
sql() {
    { echo 'set search_path = pg_catalog, pg_temp;' && cat; } | sql_as_it_is "$@"
}

# sql_as_it_is DATABASE OPTION...: run statements from standard input with the database's own settings.
sql_as_it_is() {
    sql_database=$1
    shift
    (
        limit_files "${sql_kb:-$messages_kb}"
        # dash and bash have the option. There may be a lower limit already.
        # shellcheck disable=SC3045
        ulimit -v "$psql_kb" 2>/dev/null || :
        pg psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname="$sql_database" "$@"
    ) 2>"$scratch/sql.err"
}

# load_into DATABASE DUMP: load a dump; what functions of its say meanwhile is in $scratch/sql.err.
load_into() {
    (
        limit_files "$messages_kb"
        pg pg_restore --exit-on-error --dbname="$1" <"$2" >/dev/null
    ) 2>"$scratch/sql.err"
}

# explain_postgres FILE [STATUS]: set code and said.
explain_postgres() {
    said=$(tr -s '\n\t ' '   ' <"$1" | cut -c1-300)
    case ${2:-} in 124 | 137) said="it did not end within $database_limit s; does somebody hold a lock on its tables, or does a view of it never end? $said" ;; esac
    code=database
    case $said in
        *'version mismatch'*) code=pg-version ;;
        *'o space left'*) code=no-space ;;
    esac
}

# create_database NEW LIKE: make an empty database with the owner, encoding, locale, settings and rights of LIKE, if that
# exists. pg_restore restores none of these under another name. The owner chose the settings, so a list is split and each of its
# names is quoted again.
create_database() {
    sql postgres --set=new="$1" --set=like="$2" >/dev/null <<'SQL'
select coalesce((select format('create database %I template template0 owner %I encoding %L lc_collate %L lc_ctype %L',
    :'new', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype)
    from pg_database where datname = :'like'), format('create database %I template template0', :'new')) \gexec
select format('alter %s set %I to %s', case setrole when 0 then format('database %I', :'new')
    else format('role %I in database %I', pg_get_userbyid(setrole), :'new') end, pair[1],
    case when pair[1] in ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries')
    then coalesce((select string_agg(quote_literal(case when left(part[1], 1) = '"' then replace(substr(part[1], 2, length(part[1]) - 2), '""', '"')
        when pair[1] = 'search_path' then lower(part[1]) else part[1] end), ', ')
        from regexp_matches(pair[2], '"(?:[^"]|"")*"|[^[:space:],"]+', 'g') as part), '''''') else quote_literal(pair[2]) end)
    from pg_db_role_setting join pg_database on pg_database.oid = setdatabase, unnest(setconfig) as setting,
    regexp_match(setting, '^([^=]+)=(.*)$') as pair where datname = :'like' \gexec
select format('revoke all on database %I from public', :'new') from pg_database where datname = :'like' and datacl is not null
union all select format('grant %s on database %I to %s%s', privilege_type, :'new',
    case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end,
    case when is_grantable then ' with grant option' else '' end)
    from pg_database, aclexplode(datacl) where datname = :'like' and grantee <> datdba \gexec
SQL
}

# cut_name PREFIX NAME SUFFIX: print them as one name. PostgreSQL cuts a name after 63 bytes, so a longer NAME loses its end and
# gets eight digits of its checksum, which tell it from others that begin alike. scratch_name in drill.py does the same.
cut_name() {
    cut_room=$((63 - ${#1} - ${#3}))
    if [ "${#2}" -le "$cut_room" ]; then
        printf '%s%s%s' "$1" "$2" "$3"
    else
        printf '%s%s_%s%s' "$1" "$(printf '%s' "$2" | cut -c1-$((cut_room - 9)))" "$(printf '%s' "$2" | sha256sum | cut -c1-8)" "$3"
    fi
}

# is_there NAME: whether the server has a database of that name; status 2 if the server cannot be asked.
is_there() {
    there=$(printf '%s' "select 1 from pg_database where datname = :'it'" | sql postgres --set=it="$1") || return 2
    [ "$there" = 1 ]
}

# A drill writes the names of its scratch databases into a file that only root can write, before it makes them. A database with
# such a name that is not in the file belongs to somebody else, and is not dropped.
# made_scratch STATE NAME adds a name, forget_scratch STATE NAME removes it, is_scratch STATE NAME tells whether it is there.
made_scratch() {
    mkdir -p "$1/drill"
    is_scratch "$1" "$2" || printf '%s\n' "$db_host:$db_port $2" >>"$1/drill/databases"
}
is_scratch() { grep -qsxF "$db_host:$db_port $2" "$1/drill/databases"; }
forget_scratch() {
    is_scratch "$1" "$2" || return 0
    awk -v line="$db_host:$db_port $2" '$0 != line' "$1/drill/databases" | replace_file "$1/drill/databases"
}

# drop_database NAME: drop it even if somebody is connected, or connects again and again: a drilled release that does not end,
# for example.
drop_database() {
    sql postgres --set=it="$1" >/dev/null <<'SQL'
select format('alter database %I allow_connections false', datname) from pg_database where datname = :'it' \gexec
select pg_terminate_backend(pid) from pg_stat_activity where datname = :'it';
drop database if exists :"it";
SQL
}

# judge_database DATABASE MIN-TABLES CHECKS: print a sentence for each fault of a restored database. CHECKS is a file with a
# query in each line. Each query must answer one row whose first column is true.
judge_database() {
    if ! tables=$(printf '%s' "select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')" | sql "$1"); then
        explain_postgres "$scratch/sql.err"
        printf 'cannot ask the restored %s: %s\n' "$name" "$said"
        return
    fi
    [ "$tables" -ge "$2" ] || printf 'the restored %s has %s tables, expected at least %s\n' "$name" "$tables" "$2"
    [ -f "$3" ] || return 0
    while IFS= read -r query; do
        answered=0
        (sql_kb=$answer_kb && printf '%s\n' "$query" | sql_as_it_is "$1") >"$scratch/answered" || answered=$?
        if is_cut "$scratch/answered" "$answer_kb"; then
            printf "the restored %s: '%s' answers more than %s kB, expected one row that is true\n" "$name" "$query" "$answer_kb"
            continue
        fi
        answer=$(tr -d '\0' <"$scratch/answered")
        if [ "$answered" -ne 0 ]; then
            explain_postgres "$scratch/sql.err" "$answered"
            printf "the restored %s: '%s' failed: %s\n" "$name" "$query" "$said"
            continue
        fi
        case $answer in
            *"$newline"*) printf "the restored %s: '%s' answers %s rows, expected one that is true\n" "$name" "$query" "$(printf '%s\n' "$answer" | wc -l)" ;;
            t | 't|'*) ;;
            *) printf "the restored %s: '%s' answers '%s', expected true\n" "$name" "$query" "$(printf '%s' "${answer:-nothing}" | cut -c1-300)" ;;
        esac
    done <"$3"
}
