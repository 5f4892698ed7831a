# shellcheck shell=sh disable=SC2034,SC2154
# The beginning of a step that asks a database as the user that migrates it, and changes nothing. Standard input, see payload.sh:
# database NAME HOST PORT USER PASSWORD SERVED-BY. It needs user, the application's user.

# include output.sh
# include payload.sh
# include postgres.sh
# include owner_sql.sh
# include programs.sh

refuse_programs "$user"
need psql systemd-run
scratch=$(private_folder)
trap 'rm -rf "$scratch"' EXIT
payload_line() {
    [ "$1" = database ] || fail usage "unknown line '$1'"
    shift
    use_owner "$@"
}
read_lines payload_line question
