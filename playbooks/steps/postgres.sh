# shellcheck shell=sh disable=SC2154
# What every step that talks to PostgreSQL shares; it needs a private folder $scratch.

# use_database NAME HOST PORT USER PASSWORD: which one. No HOST: the local socket, as the system's user postgres.
use_database() {
    name=$1 db_host=$2 db_port=$3 db_user=$4
    PGPASSFILE=$scratch/pgpass
    # pgpass(5): a file rather than the environment, which every child of ours would get.
    printf '*:*:*:*:%s\n' "$(printf '%s' "$5" | sed 's/[\\:]/\\&/g')" >"$PGPASSFILE"
}

# pg PROGRAM ARGUMENT...: one of PostgreSQL's own programs, on the server of the database in use.
pg() {
    pg_program=$1
    shift
    # The user postgres may not enter the folder we are in.
    cd /
    if [ -z "$db_host" ]; then
        PGCONNECT_TIMEOUT=10 runuser -u postgres -- "$pg_program" --port="$db_port" --username="$db_user" --no-password "$@"
    else
        PGCONNECT_TIMEOUT=10 PGPASSFILE=$PGPASSFILE \
            "$pg_program" --host="$db_host" --port="$db_port" --username="$db_user" --no-password "$@"
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
