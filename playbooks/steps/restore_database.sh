# shellcheck shell=sh disable=SC2034,SC2154
# restore_database: put the backup of a database in the place of what is there, and keep that.
# needs: app state id snapshot repository stamp database_limit user before overruled
#
# Standard input, see restic.sh: secret NAME VALUE; database NAME HOST PORT USER PASSWORD MIN-TABLES; check NAME SQL; and how a
# database is backed up, see backup_methods.sh. database_limit is the number of seconds that PostgreSQL may take over each part. before is the id of a backup of what is there,
# or "-"; overruled "yes": also where that does harm to others.

# include disk_space.sh
# include restic.sh
# include postgres.sh
# include backup_methods.sh
# include restored.sh
# include names.sh
# include programs.sh

require_stamped backup "$id"
[ "$before" = - ] || require_stamped backup "$before"
require_programs "$user"
need restic jq
mkdir -p "$state"
scratch=$(mktemp -d "$state/restore.XXXXXX")
trap 'dump_undo; rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

payload_line() {
    case $1 in
        database)
            shift
            use_database "$@"
            min_tables=$6
            ;;
        check) printf '%s\n' "$3" >>"$scratch/checks" ;;
        method | option | variable | owner) method_line "$@" ;;
    esac
}
read_payload

root=$scratch/root
databases=$state/backup.d/databases
run_restic "$scratch/answer" restore "$snapshot" --target "$root" --include "$databases/$name.dump" --include "$databases/$name.json" \
    --include "$databases/$name.contents" --include "$state/backup.d/manifest"
manifest=$state/backups/$id.manifest
[ -f "$manifest" ] || manifest=$root$state/backup.d/manifest
for place_in in "$databases/$name.json" "$databases/$name.dump" "$databases/$name.contents" "$state/backup.d/manifest"; do
    ! has_link "$place_in" || fail damaged "backup $id has a link in the place of $place_in, $why"
    if [ -e "$root$place_in" ] && [ "$place_in" != "$state/backup.d/manifest" ]; then
        expected=$(awk -v file=".$place_in" 'substr($0, 67) == file { print substr($0, 1, 64) }' "$manifest")
        [ "$(sha256sum <"$root$place_in" | cut -c1-64)" = "$expected" ] ||
            fail damaged "what backup $id has of $name is not what was backed up"
    fi
done
[ -s "$root$databases/$name.json" ] || [ -s "$root$databases/$name.dump" ] || fail not-in-backup "backup $id has nothing of database $name"
method_of_backup "$root$databases/$name"
"${method}_restore" "$root$databases/$name" "$id" "$min_tables" "$scratch/checks" "$stamp" \
    "$([ "$before" = - ] && echo - || echo "$state/backups/$before.json")" "$overruled" "$app"
emit restored "$name" "$kept"
