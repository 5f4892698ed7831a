# shellcheck shell=sh disable=SC2034,SC2154
# migration_state: what a database's migrations are. Changes nothing. Standard input, see payload.sh: database NAME HOST PORT USER
# PASSWORD SERVED-BY, the user being the one that migrates.
#
# Emits: server VERSION IN-RECOVERY PORT BYTES; busy PID SECONDS USER if somebody migrates now; invalid SCHEMA NAME for each index that
# is not whole; row FIELD… for each migration in the table, see steps/migrations.py;
# rehearsal JSON and contract_rehearsal JSON if one was kept (keep_rehearsal.sh).
# needs: state user

database_limit=60

# include owner_question.sh

{
    owner_head
    direct_or_quit "@state"
    cat <<SQL
set lock_timeout = '5s';
set statement_timeout = '30s';
\\pset fieldsep '\\t'
select 'server', pg_catalog.current_setting('server_version_num'), pg_catalog.pg_is_in_recovery(),
    coalesce(pg_catalog.inet_server_port(), 0), pg_catalog.pg_database_size(pg_catalog.current_database());
select 'busy', l.pid, coalesce(pg_catalog.floor(extract(epoch from pg_catalog.now() - a.backend_start)), 0), $(plain a.usename)
    from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and l.classid = ${owner_lock%,*} and l.objid = ${owner_lock#*, } and l.objsubid = 2 and l.granted
    and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
    order by a.usename = current_user limit 1;
select 'invalid', $(plain n.nspname), $(plain c.relname) from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace where not i.indisvalid
    and not exists (select from pg_catalog.pg_stat_progress_create_index p where p.index_relid = i.indexrelid) limit 100;
SQL
    own_table "@state"
    cat <<SQL
\\if :slipway_there
select 'row', $(plain id), $(plain name), $(plain phase), $(plain direction), $(plain state), $(plain up_sha256), $(plain down_sha256),
    statement, statements, $(plain by), $(plain deploy),
    coalesce(pg_catalog.to_char(started at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), ''),
    coalesce(pg_catalog.to_char(ended at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), ''), milliseconds,
    $(plain error)
    from slipway.migrations order by id limit 5000;
\\endif
SQL
} >"$scratch/script"
asked=0
owner_sql "$scratch/script" "$name" "$database_limit" >"$scratch/out" 2>"$scratch/sql.err" || asked=$?
if [ "$asked" -ne 0 ]; then
    explain_owner "$asked"
    fail "$code" "cannot ask database $name as $db_user: $said"
fi
! grep -qxF '@state pooler' "$scratch/sql.err" || fail migration-pooler "database $name: $(explain_pooler)"
! grep -qxF '@state foreign' "$scratch/sql.err" || fail migration-table "database $name: $foreign_table"
# Whoever may write to the database may have written to this table, so a line is a record only if it begins as one.
while IFS= read -r line; do
    case $line in
        "server$tab"* | "busy$tab"* | "invalid$tab"* | "row$tab"*)
            printf '%s\n' "$line"
            ;;
    esac
done <"$scratch/out"
[ ! -s "$state/rehearsals/$name.json" ] || emit rehearsal "$(cat "$state/rehearsals/$name.json")"
[ ! -s "$state/rehearsals/contracts/$name.json" ] || emit contract_rehearsal "$(cat "$state/rehearsals/contracts/$name.json")"
emit asked
