# shellcheck shell=sh disable=SC2034
# drill_database STATE ID SNAPSHOT REPOSITORY ACTION
#
# ACTION "load": check the repository, restore every dump and load it into a scratch database slipway_drill_NAME, count
# its tables, ask it the user's questions. The scratch databases stay until "drop": restored releases run against them.
# Standard input, see restic.sh: secret NAME VALUE; database NAME HOST PORT USER PASSWORD MIN-TABLES; check SQL, which
# belongs to the database before it.
state=$1
id=$2
snapshot=$3
repository=$4
action=$5

# include restic.sh
# include drill_repository.sh

need restic pg_restore
scratch=$state/drill
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
rm -rf "$scratch"
mkdir -p "$scratch"
began=$(date +%s)
checks=0
payload_line() {
    case $1 in
        database)
            checks=0
            printf '%s\n' "$2" >>"$scratch/names"
            printf '%s\n' "$3" "$4" "$5" "${6:-}" "${7:-0}" >"$scratch/of.$2"
            now=$2
            ;;
        check)
            checks=$((checks + 1))
            printf '%s' "$2" >"$scratch/check.$now.$checks"
            ;;
    esac
}
: >"$scratch/names"
read_payload

use() {
    {
        read -r db_host
        read -r db_port
        read -r db_user
        read -r db_password
        read -r min_tables
    } <"$scratch/of.$1"
}
run_sql() { pg psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@" 2>"$scratch/err"; }
said() { tr '\n' ' ' <"$scratch/err" | cut -c1-300; }
drop() { printf '%s' 'drop database if exists :"it"' | run_sql --dbname=postgres --set=it="slipway_drill_$1" >/dev/null; }

load() {
    dump=$scratch/root$state/backup.d/databases/$1.dump
    it=slipway_drill_$1
    if [ ! -s "$dump" ]; then
        problem "backup $id has no dump of database $1, or an empty one"
        return
    fi
    drop "$1" || { problem "cannot reach the database server: $(said)" && return; }
    # The application's user must be able to use it, as it can the real one.
    owner=$(printf '%s' "select pg_get_userbyid(datdba) from pg_database where datname = :'name'" |
        run_sql --dbname=postgres --set=name="$1") || :
    printf '%s' "create database :\"it\" template template0 ${owner:+owner :\"owner\"}" |
        run_sql --dbname=postgres --set=it="$it" --set=owner="$owner" || { problem "cannot make a scratch database: $(said)" && return; }
    if ! pg pg_restore --exit-on-error --dbname="$it" <"$dump" 2>"$scratch/err"; then
        problem "the dump of $1 cannot be loaded: $(said)"
        return
    fi
    tables=$(run_sql --dbname="$it" --command="select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')")
    [ "$tables" -ge "$min_tables" ] || problem "the restored $1 has $tables tables, at least $min_tables are expected"
    for check in "$scratch/check.$1".*; do
        [ -f "$check" ] || continue
        answer=$(run_sql --dbname="$it" <"$check") || answer="an error: $(said)"
        case $answer in
            t | true | t\|* | 1) ;;
            *) problem "the restored $1: '$(tr '\n' ' ' <"$check")' gives '$answer', expected true" ;;
        esac
    done
    emit loaded "$1" "$tables"
}

if [ "$action" = drop ]; then
    while IFS= read -r name; do
        use "$name"
        drop "$name" || problem "the scratch database slipway_drill_$name could not be dropped: $(said)"
    done <"$scratch/names"
    exit 0
fi
check_repository || :
if tried "$scratch/restore" restore "$snapshot" --target "$scratch/root"; then
    sed "s|  /|  $scratch/root/|" "$state/backups/$id.manifest" >"$scratch/manifest"
    sha256sum --check --quiet --strict "$scratch/manifest" >"$scratch/differ" 2>&1 ||
        problem "dumps differ from the manifest: $(head -n 3 "$scratch/differ" | tr '\n' ' ')"
    while IFS= read -r name; do
        use "$name"
        load "$name"
    done <"$scratch/names"
fi
emit seconds "$(($(date +%s) - began))"
