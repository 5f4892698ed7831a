# shellcheck shell=sh disable=SC2154
# What every step that talks to restic shares. Standard input: lines "kind US field…", of which "secret NAME VALUE" is
# exported here, so that no password is ever in a command line or a file. Everything else is left to the step's own
# function payload_line.
us=$(printf '\037')

read_payload() {
    while IFS= read -r line; do
        set -f
        IFS=$us
        # shellcheck disable=SC2086
        set -- $line
        unset IFS
        set +f
        if [ "$1" = secret ]; then
            export "$2=$3"
        else
            payload_line "$@"
        fi
    done
}

# run_restic OUTPUT ARGUMENT...: restic, its answer in a file; its failure as a sentence. A lock left by a killed restic
# is removed (restic itself tells a stale one from a live one) and the command tried once more.
run_restic() {
    restic_output=$1
    shift
    restic --cache-dir "$state/cache" --repo "$repository" "$@" >"$restic_output" 2>"$restic_output.err" && return 0
    if grep -q 'already locked' "$restic_output.err"; then
        note 'the repository is locked; removing stale locks'
        restic --cache-dir "$state/cache" --repo "$repository" unlock >/dev/null 2>&1 || :
        restic --cache-dir "$state/cache" --repo "$repository" "$@" >"$restic_output" 2>"$restic_output.err" && return 0
    fi
    said=$(grep -v '^{' "$restic_output.err" | tail -n 3 | tr '\n' ' ' | cut -c1-300)
    case $said in
        *'wrong password'*) fail wrong-password "restic refuses the password of repository $repository" ;;
        *'config file'* | *'Is there a repository'*) fail no-repository "there is no restic repository at $repository" ;;
        *'no space left'*) fail no-space "no room for the backup: $said" ;;
        *'already locked'*) fail locked "another restic works on $repository: $said" ;;
        *) fail restic "restic $1 failed: $said" ;;
    esac
}

# need_repository RECORDS: make the repository at first use. Where records of backups exist it must be there: a silent
# new one would hide that they are all gone.
need_repository() {
    case $repository in
        /*) [ ! -f "$repository/config" ] || return 0 ;;
        *) restic --cache-dir "$state/cache" --repo "$repository" cat config >/dev/null 2>"$scratch/config.err" && return 0
            grep -Eq 'config file|Is there a repository' "$scratch/config.err" || return 0 ;;
    esac
    for record in "$1"/*.json; do
        [ ! -f "$record" ] ||
            fail no-repository "the restic repository $repository is gone, though $(basename "$record" .json) is recorded in it"
    done
    note "making a restic repository at $repository"
    run_restic "$scratch/init" init
}

# pg COMMAND ARGUMENT...: a PostgreSQL program as the database's user: over the local socket as postgres, else by network.
pg() {
    pg_program=$1
    shift
    if [ -z "$db_host" ]; then
        runuser -u "$db_user" -- "$pg_program" --port="$db_port" "$@"
    else
        PGPASSWORD=$db_password "$pg_program" --host="$db_host" --port="$db_port" --username="$db_user" --no-password "$@"
    fi
}
