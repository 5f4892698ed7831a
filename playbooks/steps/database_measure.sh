# shellcheck shell=sh disable=SC2034,SC2154
# database_measure: what a database has, to compare it with later or with another. Changes nothing. Standard input, see
# payload.sh: database NAME HOST PORT USER PASSWORD SERVED-BY.
# needs: data user
#
# Emits: size BYTES; schema LINE for everything that a schema is made of, sorted; if data is "yes", table NAME ROWS SUM BYTES,
# where SUM does not depend on the order of rows or columns; if data is "writes", wrote NAME COUNT, where COUNT grows with each row
# that somebody inserts, changes or removes. What is Slipway's own is left out.
database_limit=600

# include owner_question.sh
# include contents.sh

# Names are written with their schemas, because search_path is empty.
{
    owner_head
    cat <<'SQL'
set lock_timeout = '5s';
begin isolation level repeatable read read only;
\pset fieldsep '\t'
select 'size', pg_catalog.pg_database_size(pg_catalog.current_database());
with own as (
    select n.oid, n.nspname from pg_catalog.pg_namespace n
    where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'slipway')
), relations as (
    select c.*, own.nspname from pg_catalog.pg_class c join own on own.oid = c.relnamespace
), parts (line) as (
    select 'schema ' || nspname from own
    union all select 'extension ' || extname || ' ' || extversion from pg_catalog.pg_extension
    union all select pg_catalog.format('relation %I.%I kind %s persistence %s rls %s options %s partition %s', nspname, relname, relkind, relpersistence,
            relrowsecurity, reloptions, pg_catalog.pg_get_partkeydef(oid))
        from relations where relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    union all select pg_catalog.format('column %I.%I.%I %s%s%s%s', r.nspname, r.relname, a.attname,
            pg_catalog.format_type(a.atttypid, a.atttypmod), case when a.attnotnull then ' not null' else '' end,
            case when d.adbin is null then '' else ' default ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid) end,
            nullif(pg_catalog.format(' identity %s generated %s', a.attidentity, a.attgenerated), ' identity  generated '))
        from relations r join pg_catalog.pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
        left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum where r.relkind in ('r', 'p', 'm', 'f')
    union all select pg_catalog.format('constraint %I.%I %I %s%s', r.nspname, r.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid),
            case when k.convalidated then '' else ' not validated' end)
        from pg_catalog.pg_constraint k join relations r on r.oid = k.conrelid
    union all select pg_catalog.format('index %s%s', pg_catalog.pg_get_indexdef(i.indexrelid), case when i.indisvalid then '' else ' invalid' end)
        from pg_catalog.pg_index i join relations r on r.oid = i.indrelid
    union all select pg_catalog.format('view %I.%I %s', nspname, relname, pg_catalog.md5(pg_catalog.pg_get_viewdef(oid)))
        from relations where relkind in ('v', 'm')
    union all select pg_catalog.format('trigger %s %s', pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled)
        from pg_catalog.pg_trigger t join relations r on r.oid = t.tgrelid where not t.tgisinternal
    union all select pg_catalog.format('rule %I.%I %s', r.nspname, r.relname, pg_catalog.md5(pg_catalog.pg_get_ruledef(w.oid)))
        from pg_catalog.pg_rewrite w join relations r on r.oid = w.ev_class where r.relkind in ('r', 'p')
    union all select pg_catalog.format('policy %I.%I %I %s %s %s %s', r.nspname, r.relname, p.polname, p.polcmd, p.polpermissive,
            pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
        from pg_catalog.pg_policy p join relations r on r.oid = p.polrelid
    union all select pg_catalog.format('function %I.%I(%s) %s', own.nspname, f.proname, pg_catalog.pg_get_function_identity_arguments(f.oid),
            pg_catalog.md5(case when f.prokind in ('f', 'p') then pg_catalog.pg_get_functiondef(f.oid) else f.prosrc end))
        from pg_catalog.pg_proc f join own on own.oid = f.pronamespace
        where not exists (select from pg_catalog.pg_depend e where e.objid = f.oid and e.deptype = 'e')
    union all select pg_catalog.format('type %I.%I %s %s', own.nspname, t.typname, t.typtype,
            (select pg_catalog.string_agg(e.enumlabel, ',' order by e.enumsortorder) from pg_catalog.pg_enum e where e.enumtypid = t.oid))
        from pg_catalog.pg_type t join own on own.oid = t.typnamespace where t.typtype in ('e', 'd', 'r', 'm')
    union all select pg_catalog.format('sequence %I.%I %s by %s', r.nspname, r.relname, q.seqstart, q.seqincrement)
        from pg_catalog.pg_sequence q join relations r on r.oid = q.seqrelid
)
select 'schema', pg_catalog.regexp_replace(line, '[[:cntrl:][:space:]]+', ' ', 'g') from parts order by line collate "C";
SQL
    [ "$data" != writes ] || cat <<SQL
select 'wrote', $(plain "pg_catalog.format('%I.%I', schemaname, relname)"), n_tup_ins + n_tup_upd + n_tup_del from pg_catalog.pg_stat_all_tables
    where schemaname !~ '^pg_' and schemaname not in ('information_schema', 'slipway') order by 2 limit 2000;
SQL
    [ "$data" != yes ] || table_sums "'r', 'm'"
    echo 'commit;'
} >"$scratch/script"
asked=0
owner_sql "$scratch/script" "$name" "$database_limit" >"$scratch/out" 2>"$scratch/sql.err" || asked=$?
if [ "$asked" -ne 0 ]; then
    explain_owner "$asked"
    fail "$code" "cannot measure database $name as $db_user: $said"
fi
grep -e "^size$tab" -e "^schema$tab" -e "^table$tab" -e "^wrote$tab" "$scratch/out" || :
emit measured
