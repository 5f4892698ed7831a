# shellcheck shell=sh disable=SC2034,SC2154
# restore_database: load the dump of a backup into a new database, judge it, then swap the names in one transaction.
# needs: state id snapshot repository stamp database_limit user
#
# The old database stays as NAME_before_$stamp, so nothing is lost. Standard input, see restic.sh: secret NAME VALUE; database
# NAME HOST PORT USER PASSWORD MIN-TABLES; check NAME SQL. database_limit is the number of seconds that PostgreSQL may take
# over each part.

# include disk_space.sh
# include restic.sh
# include postgres.sh
# include restored.sh
# include names.sh
# include programs.sh

require_stamped backup "$id"
require_programs "$user"
need restic psql pg_restore
mkdir -p "$state"
scratch=$(mktemp -d "$state/restore.XXXXXX")
fresh=
closed=
undo() {
    [ -z "$closed" ] || printf '%s' 'alter database :"it" allow_connections true' | sql postgres --set=it="$closed" || :
    [ -z "$fresh" ] || drop_database "$fresh" || :
    rm -rf "$scratch"
}
trap undo EXIT
trap 'exit 1' HUP INT TERM
broken() {
    explain_postgres "$scratch/sql.err" "${loaded:-}"
    fail "$code" "$1: $said"
}

payload_line() {
    case $1 in
        database)
            shift
            use_database "$@"
            min_tables=$6
            ;;
        check) printf '%s\n' "$3" >>"$scratch/checks" ;;
    esac
}
read_payload

dump=$state/backup.d/databases/$name.dump
run_restic "$scratch/answer" restore "$snapshot" --target "$scratch/root" --include "$dump" --include "$state/backup.d/manifest"
root=$scratch/root
for name_in in "$dump" "$state/backup.d/manifest"; do
    ! has_link "$name_in" || fail damaged "backup $id has a link in the place of $name_in, $why"
done
[ -s "$scratch/root$dump" ] || fail not-in-backup "backup $id has no dump of database $name"
manifest=$state/backups/$id.manifest
[ -f "$manifest" ] || manifest=$scratch/root$state/backup.d/manifest
expected=$(awk -v file=".$dump" 'substr($0, 67) == file { print substr($0, 1, 64) }' "$manifest")
[ "$(sha256sum <"$scratch/root$dump" | cut -c1-64)" = "$expected" ] ||
    fail damaged "the dump of $name in backup $id is not what was backed up"

old=$(cut_name '' "$name" "_before_$stamp")
coming=$(cut_name '' "$name" "_restored_$stamp")
exists=$(printf '%s' "select 1 from pg_database where datname = :'name'" | sql postgres --set=name="$name") ||
    broken "cannot reach the server of database $name"
# A database that exists already was not made by this step, so it must not be dropped.
! is_there "$coming" || fail database "there is a database $coming already; $name is as it was"
fresh=$coming
create_database "$fresh" "$name" || broken "cannot make a database to restore $name into"
# The user postgres may not be able to read the scratch folder, so the dump comes on standard input.
loaded=0
load_into "$fresh" "$scratch/root$dump" || loaded=$?
[ "$loaded" -eq 0 ] || broken "cannot load the dump of $name"
judge_database "$fresh" "$min_tables" "$scratch/checks" >"$scratch/wrong"
[ ! -s "$scratch/wrong" ] || fail damaged "backup $id is not good enough to go back to: $(tr '\n' ';' <"$scratch/wrong")"

if [ "$exists" = 1 ]; then
    # Clients are disconnected and cannot return until the names are swapped, which takes milliseconds.
    closed=$name
    sql postgres --set=name="$name" --set=old="$old" --set=fresh="$fresh" >/dev/null <<'SQL' || broken "cannot swap $name for what was restored; it is as it was"
alter database :"name" allow_connections false;
select pg_terminate_backend(pid) from pg_stat_activity where datname = :'name';
begin;
alter database :"name" rename to :"old";
alter database :"fresh" rename to :"name";
commit;
alter database :"old" allow_connections true;
SQL
    closed=
else
    old=
    printf '%s' 'alter database :"fresh" rename to :"name"' | sql postgres --set=fresh="$fresh" --set=name="$name" >/dev/null ||
        broken "cannot put what was restored in the place of $name"
fi
fresh=
emit restored "$name" "$old"
