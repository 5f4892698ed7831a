# shellcheck shell=sh disable=SC2154
# provision_database: make the application's database users and databases. Standard input: lines "NAME OWNER PORT PASSWORD",
# separated by US. stanzas are those of pgBackRest, which somebody has set up.
# needs: state repository user stanzas
# words: PACKAGE...

# include listeners.sh
# include output.sh
# include packages.sh
# include programs.sh
# include root_only.sh

# Before anything is made there: a link in the way would lead to a folder of the system, which would be closed to all.
require_roots "$state"
case $repository in
    /*) require_root_only "$repository" 'the backup repository' ;;
esac
require_programs "$user"
want_packages "$@"
for place in "$state" "$repository"; do
    case $place in
        /*)
            [ -d "$place" ] || emit changed "made $place"
            mkdir -p "$place"
            chmod 0700 "$place"
            ;;
    esac
done
scratch=$(private_folder)
trap 'rm -rf "$scratch"' EXIT
us=$(printf '\037')
# Others may have made functions in the database postgres. With this search_path, the statements here use none of them.
sql() {
    { echo 'set search_path = pg_catalog, pg_temp;' && cat; } | runuser -u postgres -- psql --port="$port" --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 \
        --dbname=postgres "$@" 2>"$scratch/err"
}
# can_log_in: whether the password is right. It is sent only to PostgreSQL: if that does not listen, somebody else's program
# may.
can_log_in() {
    [ -n "$(listeners 127.0.0.1 "$port")" ] || return 1
    find_stranger 127.0.0.1 "$port" " $(id -u postgres) "
    [ -z "$stranger" ] || return 1
    PGPASSWORD=$password psql --host=127.0.0.1 --port="$port" --username="$owner" --no-password --no-psqlrc \
        --dbname=postgres --command='select 1' >/dev/null 2>&1 </dev/null
}
broken() { fail_showing database "$1" "$(cat "$scratch/err")"; }
while IFS="$us" read -r name owner port password _; do
    before=$(printf '%s' "select rolpassword from pg_authid where rolname = :'owner'" | sql --set=owner="$owner") ||
        broken "cannot ask the database server on port $port"
    if [ -z "$before" ]; then
        exists=$(printf '%s' "select 1 from pg_roles where rolname = :'owner'" | sql --set=owner="$owner")
        if [ -z "$exists" ]; then
            printf '%s' 'create role :"owner" login' | sql --set=owner="$owner" || broken "cannot make user $owner"
            emit changed "made database user $owner"
        fi
    fi
    # The password is in a statement on standard input, so that no command line has it, and which the server writes into no log,
    # also where that has all statements, or those that fail. A login shows if it is set already.
    if [ -n "$password" ] && ! can_log_in; then
        {
            printf '%s\n' 'set log_statement = none; set log_min_error_statement = panic; set log_min_duration_statement = -1;' \
                'set log_duration = off; set pg_stat_statements.track_utility = off; set pgaudit.log = none;'
            printf '\\set password '
            printf "'%s'\n" "$(printf '%s' "$password" | sed "s/[\\\\']/\\\\&/g")"
            printf 'alter role :"owner" password :%s;\n' "'password'"
        } | sql --set=owner="$owner" || broken "cannot set the password of $owner"
        emit changed "set the password of database user $owner"
    fi
    there=$(printf '%s' "select 1 from pg_database where datname = :'name'" | sql --set=name="$name") || broken 'cannot ask'
    if [ -z "$there" ]; then
        printf '%s' 'create database :"name" owner :"owner"' | sql --set=name="$name" --set=owner="$owner" ||
            broken "cannot make database $name"
        emit changed "made database $name"
    fi
done
# Its configuration is the operator's, who alone knows where WAL and base backups belong. Here they are tried.
pgbackrest_here() { cd / && runuser -u postgres -- pgbackrest --stanza="$stanza" --log-level-console=warn --log-level-stderr=off "$@" >"$scratch/err" 2>&1 </dev/null; }
for stanza in $stanzas; do
    pgbackrest_here --output=json info || fail_showing stanza "pgbackrest info fails on this host" "$(cat "$scratch/err")"
    known=$(jq -r --arg stanza "$stanza" '[.[] | select(.name == $stanza and .status.code != 1)] | length' "$scratch/err" 2>/dev/null) || known=0
    if [ "$known" = 0 ]; then
        pgbackrest_here stanza-create ||
            fail_showing stanza "pgBackRest is installed, and not set up for stanza $stanza on this host (docs/backups.md)" "$(cat "$scratch/err")"
        emit changed "made stanza $stanza of pgBackRest"
    fi
    note "pgbackrest check of stanza $stanza"
    pgbackrest_here check || fail_showing archiving "pgbackrest check of stanza $stanza fails: its WAL does not come into the archive" "$(cat "$scratch/err")"
done
emit provisioned
