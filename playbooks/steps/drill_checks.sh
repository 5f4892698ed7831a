# shellcheck shell=sh disable=SC2034,SC2154
# drill_checks: ask the user's queries of the scratch databases of a drill, after a rehearsal has migrated them and releases have
# run on them. Standard input, see payload.sh: database NAME HOST PORT USER PASSWORD MIN-TABLES SERVED-BY; check NAME SQL, after its
# database.
#
# Emits: problem SENTENCE; asked.
# needs: state limit

database_limit=$limit

# include payload.sh
# include postgres.sh

need psql
scratch=$(private_folder)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
name=
payload_line() {
    case $1 in
        database)
            judge
            shift
            use_database "$@"
            min_tables=$6
            ;;
        check) printf '%s\n' "$3" >>"$scratch/checks" ;;
    esac
}

# judge: ask the queries of the selected database that have come so far. A database that no drill has made is not asked.
judge() {
    [ -n "$name" ] || return 0
    fresh=$(cut_name slipway_drill_ "$name" '')
    if is_scratch "$state" "$fresh"; then
        judge_database "$fresh" "$min_tables" "$scratch/checks" >"$scratch/wrong"
        while IFS= read -r sentence; do emit problem "$sentence"; done <"$scratch/wrong"
    fi
    rm -f "$scratch/checks"
}

read_lines payload_line drill
judge
emit asked
