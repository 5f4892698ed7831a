# shellcheck shell=sh disable=SC2034,SC2154
# drill: prove a backup, first part.
# needs: app home state user id snapshot repository folder bytes sqlite_limit
#
# Check the repository, restore the snapshot into folder, compare every file with the manifest, check the SQLite copies, load
# the dumps into scratch databases and run the user's queries on them. All of it stays for drill_start, because a release may
# need a database of another host. drill_end removes it.
#
# The folder has mode 0700 and is in a place that only root can change. What is restored there is hostile, but only this step
# changes it, so a path that was found to be no link stays so. user is the application's user; sqlite_limit is the number of
# seconds that a SQLite copy may take.
#
# A drill continues after a problem, so that one run reports everything that is wrong. Standard input, see restic.sh: secret
# NAME VALUE; database NAME HOST PORT USER PASSWORD MIN-TABLES; check NAME SQL.
# A dump may take nearly all of the step's time, which is three times the limit.
database_limit=$((sqlite_limit * 27 / 10))

# include disk_space.sh
# include restic.sh
# include postgres.sh
# include backup_methods.sh
# include as_user.sh
# include sqlite.sh
# include restored.sh
# include programs.sh

require_programs "$user"
need restic jq
require_root_only "$folder" slipway_backup.drill.folder
scratch=$folder/work
root=$folder/root
# A release may still run from a drill that was killed.
systemctl stop "slipway-$app-drill-release.service" 2>/dev/null || :
pgbackrest_drill_end "$folder" "$app"
rm -rf "$scratch" "$root" "$folder/tree"
mkdir -p "$scratch" "$root" "$state/drill"
chmod 0700 "$folder" "$scratch" "$root"
trap 'close_sqlite_place' EXIT
trap 'exit 1' HUP INT TERM

problem() { emit problem "$1"; }

payload_line() {
    case $1 in
        database)
            need psql pg_restore
            shift
            printf '%s\037' "$@" >"$scratch/database.$1"
            printf '\n' >>"$scratch/database.$1"
            ;;
        check) printf '%s\n' "$3" >>"$scratch/checks.$2" ;;
        method | option | variable | owner) method_line "$@" ;;
    esac
}
read_payload

# Check the structure and then the data itself, because a check of the structure does not find a flipped bit. A small local
# repository is read completely. Of any other, each drill reads the next seventh, so that seven drills read everything.
check_repository() {
    turn=$(cat "$state/drill/turn" 2>/dev/null || echo 0)
    part=$((turn % 7 + 1))/7
    case $repository in
        /*)
            size=$(du -sk "$repository" 2>/dev/null | cut -f1)
            [ "${size:-0}" -ge 1048576 ] || part=1/1
            ;;
    esac
    # No lock: a deploy must never wait for a drill, nor fail because of one.
    if ! try_restic "$scratch/check" --no-lock check --read-data-subset="$part"; then
        case $code in
            restic | damaged) ;;
            *) return 1 ;;
        esac
        # A check without a lock may take a backup that is being made for damage. So check again while no other backup is at
        # work.
        exec 8>>"$state/backup.lock"
        flock -w 300 8 || :
        restic_status=0
        try_restic "$scratch/check" check --read-data-subset="$part" || restic_status=$?
        exec 8>&-
        [ "$restic_status" -eq 0 ] || return 1
    fi
    printf '%s\n' "$((turn + 1))" >"$state/drill/turn"
    emit checked "$part"
}

check_sqlite() {
    find "$root$state/backup.d/sqlite" -type f 2>/dev/null >"$scratch/sqlite.list" || :
    while IFS= read -r copy; do
        path=${copy#"$root$state/backup.d/sqlite"}
        if ! command -v sqlite3 >/dev/null; then
            problem "sqlite3 is not installed, so $path cannot be checked; run: invoke provision --env=…"
            return
        fi
        [ -n "${sqlite_place-}" ] || open_sqlite_place drill
        answer=$(judge_sqlite "$copy")
        if [ "$answer" != ok ]; then problem "the copy of SQLite database $path is damaged: ${answer:-SQLite said nothing within $sqlite_limit s}"; fi
        # Put the copy at its place in the restored tree, where the release finds it. A folder that was not restored becomes the
        # user's, because SQLite writes files beside a database.
        if ! find_restored "${path%/*}"; then
            problem "SQLite database $path is not put back: the backup has a link in its place, $why"
            continue
        fi
        if [ ! -d "$root$at" ]; then
            (umask 022 && mkdir -p "$root$at")
            chown -h "$user" "$root$at"
        fi
        # A rename replaces a link at that place and does not follow it.
        mv -fT "$copy" "$root$at/${path##*/}" || problem "SQLite database $path is not put back: in the backup it is a folder"
    done <"$scratch/sqlite.list"
}

# Run this in a subshell, so that one failing database does not hide the next.
drill_database() {
    set -f
    IFS=$us
    # shellcheck disable=SC2046
    set -- $(cat "$1")
    unset IFS
    set +f
    use_database "$@"
    min_tables=$6
    backup_place=$root$state/backup.d/databases/$name
    method_of_backup "$backup_place"
    "${method}_drill" "$backup_place" "$id" "$min_tables" "$scratch/checks.$name" "$folder"
}

check_repository || problem "$said"
if [ "${code:-}" = no-repository ] || [ "${code:-}" = wrong-password ] || [ "${code:-}" = no-answer ]; then exit 0; fi
need_room "$folder" "$bytes" || {
    problem "$said; slipway_backup.drill.folder names another place"
    exit 0
}
# Check also what could be restored in spite of damage.
try_restic "$scratch/restore" restore "$snapshot" --target "$root" || problem "$said"
# Devices, sockets and FIFOs are not data, and a setuid or setgid program must not give its rights to a release.
find "$root" ! -type f ! -type d ! -type l -delete
find "$root" -type f -perm /6000 -exec chmod u-s,g-s {} +
# Slipway itself puts these into a backup. A link on the way would lead to files of this host.
for name in databases sqlite manifest; do
    ! has_link "$state/backup.d/$name" || {
        problem "the backup has a link in the place of $state/backup.d/$name, $why"
        exit 0
    }
done
# Nor is there a link among them, which would lead to what root reads or loads of another application.
[ -z "$(find "$root$state/backup.d/databases" "$root$state/backup.d/sqlite" -type l -print -quit 2>/dev/null)" ] || {
    problem "the backup has links in $state/backup.d, where Slipway puts none"
    exit 0
}
compare_restored "$root" "$id" || problem "$said"
# Remove capabilities, because the kernel does not start a program that has some where none can be given, as in drill_start.
! command -v setfattr >/dev/null ||
    find "$root" -type f -exec setfattr --no-dereference --remove=security.capability -- {} + 2>/dev/null || :
emit restored "$(find "$root" -type f | wc -l)"
check_sqlite
for database in "$scratch"/database.*; do
    [ ! -f "$database" ] || (drill_database "$database")
done
pgbackrest_drill_end "$folder" "$app"
