# shellcheck shell=sh disable=SC2034
# restore_database STATE SNAPSHOT REPOSITORY ID STAMP
#
# Load the dump of a backup into a new database, then swap names: the old one stays as NAME_before_STAMP, so nothing is
# lost. Standard input, see restic.sh: secret NAME VALUE; database NAME HOST PORT USER PASSWORD.
state=$1
snapshot=$2
repository=$3
id=$4
stamp=$5

# include restic.sh

need restic pg_restore
scratch=$(mktemp -d "$state/restore.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
payload_line() {
    [ "$1" = database ] || return 0
    name=$2 db_host=$3 db_port=$4 db_user=$5 db_password=$6
}
read_payload

run_sql() { pg psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@" 2>"$scratch/err"; }
broken() { fail database "$1: $(tr '\n' ' ' <"$scratch/err" | cut -c1-300)"; }

run_restic "$scratch/answer" restore "$snapshot" --target "$scratch" --include "$state/backup.d/databases/$name.dump"
dump=$scratch$state/backup.d/databases/$name.dump
[ -s "$dump" ] || fail not-in-backup "backup $id has no dump of database $name"
grep -F "  $state/backup.d/databases/$name.dump" "$state/backups/$id.manifest" | sed "s|  /|  $scratch/|" >"$scratch/manifest"
sha256sum --check --quiet --strict "$scratch/manifest" >/dev/null 2>&1 ||
    fail damaged "the dump of $name in backup $id is not what was backed up"

fresh=${name}_restored_$stamp
old=${name}_before_$stamp
owner=$(printf '%s' 'select pg_get_userbyid(datdba) from pg_database where datname = :'"'name'" |
    run_sql --dbname=postgres --set=name="$name") || broken 'cannot ask the server'
printf '%s' 'create database :"fresh" template template0' >"$scratch/sql"
[ -z "$owner" ] || printf ' owner :"owner"' >>"$scratch/sql"
run_sql --dbname=postgres --set=fresh="$fresh" --set=owner="$owner" <"$scratch/sql" || broken 'cannot make a database'
drop() { printf '%s' 'drop database if exists :"fresh"' | run_sql --dbname=postgres --set=fresh="$fresh" || :; }
trap 'drop; rm -rf "$scratch"' EXIT
# The database's user may not be able to read our scratch folder: the dump comes by standard input.
pg pg_restore --exit-on-error --dbname="$fresh" <"$dump" 2>"$scratch/err" || broken "cannot load the dump of $name"

# From here to the second rename there is no database of that name: it takes milliseconds, and applications reconnect.
if [ -n "$owner" ]; then
    run_sql --dbname=postgres --set=name="$name" --set=old="$old" <<'SQL' || broken "cannot move $name aside"
alter database :"name" allow_connections false;
select pg_terminate_backend(pid) from pg_stat_activity where datname = :'name';
alter database :"name" rename to :"old";
alter database :"old" allow_connections true;
SQL
fi
printf '%s' 'alter database :"fresh" rename to :"name"' |
    run_sql --dbname=postgres --set=fresh="$fresh" --set=name="$name" >/dev/null || broken "cannot put $fresh in place; rename it by hand"
trap 'rm -rf "$scratch"' EXIT
emit restored "$name" "${owner:+$old}"
