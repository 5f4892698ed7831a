# shellcheck shell=sh disable=SC2034,SC2154
# What every step that talks to PostgreSQL shares; it needs a private folder $scratch.

# use_database NAME HOST PORT USER PASSWORD…: which one. No HOST: the local socket, as the system's user postgres.
use_database() {
    name=$1 db_host=$2 db_port=$3 db_user=$4
    # pgpass(5): a file rather than the environment, which every child of ours would get.
    printf '*:*:*:*:%s\n' "$(printf '%s' "$5" | sed 's/[\\:]/\\&/g')" >"$scratch/pgpass"
}

# pg PROGRAM ARGUMENT...: one of PostgreSQL's own programs, on the server of the database in use.
pg() {
    pg_program=$1
    shift
    # The user postgres may not enter the folder we are in.
    cd /
    # Not our lock of backups: one that hangs would hold it after us.
    if [ -z "$db_host" ]; then
        PGCONNECT_TIMEOUT=10 runuser -u postgres -- "$pg_program" --port="$db_port" --username="$db_user" --no-password "$@" 8>&-
    else
        PGCONNECT_TIMEOUT=10 PGPASSFILE=$scratch/pgpass \
            "$pg_program" --host="$db_host" --port="$db_port" --username="$db_user" --no-password "$@" 8>&-
    fi
}

# sql DATABASE OPTION...: statements from standard input; --set values are quoted by psql itself (:"name", :'value').
sql() {
    sql_database=$1
    shift
    pg psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname="$sql_database" "$@" 2>"$scratch/sql.err"
}

# explain_postgres FILE: sets code and said.
explain_postgres() {
    said=$(tr -s '\n\t ' '   ' <"$1" | cut -c1-300)
    code=database
    case $said in
        *'version mismatch'*) code=pg-version ;;
        *'o space left'*) code=no-space ;;
    esac
}

# create_database NEW LIKE: an empty database with the owner, encoding, locale, settings and rights that LIKE has, if it
# is there. pg_restore brings back none of these under another name.
create_database() {
    sql postgres --set=new="$1" --set=like="$2" >/dev/null <<'SQL'
select coalesce((select format('create database %I template template0 owner %I encoding %L lc_collate %L lc_ctype %L',
    :'new', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype)
    from pg_database where datname = :'like'), format('create database %I template template0', :'new')) \gexec
select format('alter %s set %I to %s', case setrole when 0 then format('database %I', :'new')
    else format('role %I in database %I', pg_get_userbyid(setrole), :'new') end, pair[1],
    case when pair[1] in ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries')
    then pair[2] else quote_literal(pair[2]) end)
    from pg_db_role_setting join pg_database on pg_database.oid = setdatabase, unnest(setconfig) as setting,
    regexp_match(setting, '^([^=]+)=(.*)$') as pair where datname = :'like' \gexec
select format('revoke all on database %I from public', :'new') from pg_database where datname = :'like' and datacl is not null
union all select format('grant %s on database %I to %s%s', privilege_type, :'new',
    case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end,
    case when is_grantable then ' with grant option' else '' end)
    from pg_database, aclexplode(datacl) where datname = :'like' and grantee <> datdba \gexec
SQL
}

# drop_database NAME: also while somebody, say a drilled release that will not end, is connected.
drop_database() {
    sql postgres --set=it="$1" >/dev/null <<'SQL'
select pg_terminate_backend(pid) from pg_stat_activity where datname = :'it';
drop database if exists :"it";
SQL
}

# judge_database DATABASE MIN-TABLES CHECKS: a sentence for each thing that is wrong with a restored database. CHECKS is
# a file with a query a line, each of which must answer one row whose first column is true.
judge_database() {
    if ! tables=$(printf '%s' "select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')" | sql "$1"); then
        explain_postgres "$scratch/sql.err"
        printf 'cannot ask the restored %s: %s\n' "$name" "$said"
        return
    fi
    [ "$tables" -ge "$2" ] || printf 'the restored %s has %s tables, expected at least %s\n' "$name" "$tables" "$2"
    [ -f "$3" ] || return 0
    while IFS= read -r query; do
        if ! answer=$(printf '%s\n' "$query" | sql "$1"); then
            explain_postgres "$scratch/sql.err"
            printf "the restored %s: '%s' failed: %s\n" "$name" "$query" "$said"
            continue
        fi
        case $answer in
            *"$newline"*) printf "the restored %s: '%s' answers %s rows, expected one that is true\n" "$name" "$query" "$(printf '%s\n' "$answer" | wc -l)" ;;
            t | 't|'*) ;;
            *) printf "the restored %s: '%s' answers '%s', expected true\n" "$name" "$query" "${answer:-nothing}" ;;
        esac
    done <"$3"
}
