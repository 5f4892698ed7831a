# shellcheck shell=sh disable=SC2034,SC2154
# How a database is backed up: the methods of slipway_databases[].backup, each in a file of its own with the same functions. All
# of them work on the database that use_database has selected (postgres.sh), and need a private folder $scratch and $state.
#
#   METHOD_create PLACE ID WHEN  make a backup, and print its entry: one line of JSON, with name and method. What must be in
#                           restic's snapshot is put into files PLACE.*. WHEN "quickly": a deploy waits for it; "now": it does not.
#   METHOD_drill PLACE ID MIN-TABLES CHECKS FOLDER
#                           restore the backup beside what runs, and emit a problem for each fault that is found; FOLDER is the
#                           drill's own, as in drill.sh. PLACE.* is what create has put there.
#   METHOD_drill_end FOLDER APP  remove what a drill has made, also one that was killed.
#   METHOD_restore PLACE ID MIN-TABLES CHECKS STAMP BEFORE OVERRULED APP
#                           put the backup in the place of what is there, or end the step with that as it was; sets kept to the
#                           name under which that stays, if any. BEFORE is the record of a backup of what is there, or -;
#                           OVERRULED "yes": also where that does harm to others
#   METHOD_delete ENTRY ID  remove a backup whose record expires; ENTRY is the file that has its entry. Status 1 sets said.
#
# tests/hosts/test_backup_methods.py holds all methods against this.

# include backup_command.sh
# include backup_dump.sh
# include backup_pgbackrest.sh

method_variables=

# method_line LINE...: keep what the lines "method NAME METHOD", "option NAME KEY VALUE", "variable NAME KEY VALUE" and "owner NAME …"
# (contents.sh) of standard input say about a database. A variable may be a secret, so it is in no file.
method_line() {
    case $1 in
        method)
            mkdir -p "$scratch/methods/$2"
            printf '%s\n' "$3" >"$scratch/methods/$2/method"
            ;;
        option) printf '%s\n' "$4" >"$scratch/methods/$2/$3" ;;
        variable) method_variables=$method_variables$2$us$3=$4$newline ;;
        owner)
            shift
            owner_line "$@"
            ;;
    esac
}

# method_in_settings: set method to that of the selected database, as the settings have it now.
method_in_settings() {
    method=dump
    [ ! -f "$scratch/methods/$name/method" ] || method=$(cat "$scratch/methods/$name/method")
    is_method "$method"
}

# method_of_backup PLACE: set method to the one by which a backup was made. Dumps have no entry beside them.
method_of_backup() {
    method=dump
    [ ! -f "$1.json" ] || method=$(jq -r '.method | strings' "$1.json" 2>/dev/null) || method=
    is_method "$method"
}

# is_method WORD: also of what a repository says, which others may be able to write.
is_method() {
    case $1 in
        dump | pgbackrest | command) ;;
        *) fail usage "there is no way to back up a database that is called '$(printf '%s' "$1" | cut -c1-40)'; is this backup made by a later Slipway?" ;;
    esac
}
