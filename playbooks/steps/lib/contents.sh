# shellcheck shell=sh disable=SC2034,SC2154
# What the tables of a PostgreSQL database hold, to compare a restored one with it. Needs postgres.sh, owner_sql.sh,
# database_limit, and a private folder $scratch.

# table_sums KINDS: print the statements that print "table NAME ROWS SUM BYTES" with tabs for each table of these kinds (relkind)
# that is the application's own. SUM does not depend on the order of rows or columns, nor on a setting of the database.
#
# Rows are read without a function that others made: not as JSON, for which types may have one, and no table with a policy that
# counts for this user. Columns are in the order of their names, which are a part of the sum.
table_sums() {
    cat <<SQL
set datestyle = 'ISO, YMD';
set timezone = 'UTC';
set intervalstyle = 'postgres';
set bytea_output = 'hex';
set extra_float_digits = 3;
\\pset fieldsep '\\t'
select pg_catalog.format('select ''table'', %L, count(*), coalesce(sum(pg_catalog.hashtextextended(%L || row(%s)::pg_catalog.text, 0)), 0), pg_catalog.pg_total_relation_size(%s) from %I.%I t',
    $(plain "pg_catalog.format('%I.%I', n.nspname, c.relname)"), a.names, a.columns, c.oid, n.nspname, c.relname)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace cross join lateral (
        select coalesce(pg_catalog.string_agg(attname::pg_catalog.text, ' ' order by attname), '') as names,
            coalesce(pg_catalog.string_agg(pg_catalog.format('t.%I', attname), ', ' order by attname), '') as columns
        from pg_catalog.pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped) a
    where c.relkind in ($1) and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'slipway')
    and not pg_catalog.row_security_active(c.oid) and pg_catalog.has_table_privilege(c.oid, 'select')
    and not exists (select from pg_catalog.pg_depend e where e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and e.objid = c.oid and e.deptype = 'e')
    order by 1 limit 2000 \\gexec
SQL
}

# The owner of a database reads it for that, and not the user that dumps: to plan a query of a table, PostgreSQL may call functions
# that the owner has put there, with the rights of whoever asks. A dump calls none.
#
# owner_line NAME HOST PORT USER PASSWORD SERVED-BY: keep the connection of a database's owner, in memory only.
owners=
owner_line() { owners=$owners$(printf '%s\037' "$@").$newline; }

# has_owner: whether the owner of the selected database can be asked. Sets owner_fields.
has_owner() {
    owner_fields=
    while IFS= read -r owner_fields; do
        case $owner_fields in "$name$us"*) return 0 ;; esac
    done <<END_OF_OWNERS
$owners
END_OF_OWNERS
    return 1
}

# ask_owner FILE DATABASE: run FILE as the owner of the selected database, in a subshell, because the dump has another connection.
ask_owner() (
    IFS=$us read -r _ db_host db_port db_user owner_password db_served_by _ <<END_OF_OWNER
$owner_fields
END_OF_OWNER
    db_secret=yes
    asked=0
    owner_sql "$1" "$2" "$database_limit" 2>"$scratch/owner.err" || asked=$?
    [ "$asked" -eq 0 ] || {
        sed '/^snapshot /d' "$scratch/owner.err" >"$scratch/owner.why"
        explain_postgres "$scratch/owner.why" "$asked"
        printf '%s\n' "$said" >"$scratch/owner.said"
    }
    return "$asked"
)

# owners_words: set said to why the last ask_owner failed.
owners_words() { said=$(cat "$scratch/owner.said" 2>/dev/null) || said='no answer'; }

# contents_script: print what reads the contents, in the snapshot that it names first.
contents_script() {
    owner_head
    cat <<'SQL'
set lock_timeout = '10s';
set statement_timeout = 0;
set idle_in_transaction_session_timeout = 0;
begin isolation level repeatable read read only;
select pg_catalog.pg_export_snapshot() as slipway_snapshot \gset
\warn snapshot :slipway_snapshot
SQL
    table_sums "'r'"
}

# kept_contents: print a line NAME ROWS SUM for each table of what was read.
kept_contents() { sed -n "s/^table${tab}\(.*\)${tab}[0-9]*\$/\1/p" "$scratch/contents.out"; }

# begin_contents: begin to read what the selected database holds, and set dump_snapshot to the snapshot in which that is read, for
# pg_dump --snapshot=. It is empty if the owner cannot be asked.
begin_contents() {
    dump_snapshot=
    contents_reader=
    has_owner || return 0
    rm -f "$scratch/contents.ask"
    mkfifo "$scratch/contents.ask"
    : >"$scratch/owner.err"
    rm -f "$scratch/owner.ended"
    exec 7<>"$scratch/contents.ask"
    # Nor has it the lock of backups (8), which it would hold after this step.
    (
        answered=0
        ask_owner "$scratch/contents.ask" "$name" >"$scratch/contents.out" || answered=$?
        # Also where nobody was asked.
        : >"$scratch/owner.ended"
        exit "$answered"
    ) 7>&- 8>&- &
    contents_reader=$!
    contents_script >&7
    while [ -z "$dump_snapshot" ] && [ ! -e "$scratch/owner.ended" ]; do
        sleep 0.05
        dump_snapshot=$(sed -n 's/^snapshot \([0-9A-F-]*\)$/\1/p' "$scratch/owner.err")
    done
}

# end_contents FILE: wait for the end of that, and write it to FILE. The backup is good without it.
end_contents() {
    [ -n "$contents_reader" ] || return 0
    printf 'commit;\n\\q\n' >&7
    exec 7>&-
    if wait "$contents_reader"; then
        kept_contents >"$1"
    else
        owners_words
        note "what the tables of $name hold is not in the backup, so nothing that is restored can be compared with it: $said"
    fi
}

# judge_contents DATABASE FILE: print a sentence for each table of a restored database that does not hold what FILE says.
judge_contents() {
    [ -s "$2" ] && has_owner || return 0
    contents_script >"$scratch/contents.ask"
    if ! ask_owner "$scratch/contents.ask" "$1" >"$scratch/contents.out"; then
        owners_words
        printf 'the rows of the restored %s cannot be counted: %s\n' "$name" "$said"
        return
    fi
    kept_contents >"$scratch/contents"
    awk -F "$tab" -v name="$name" '
        FNR == NR { rows[$1] = $2; sum[$1] = $3; next }
        told == 20 { exit }
        !($1 in rows) { printf "the restored %s has no table %s, which had %s rows when it was backed up\n", name, $1, $2; told++; next }
        rows[$1] != $2 { printf "table %s of the restored %s has %s rows, and had %s when it was backed up\n", $1, name, rows[$1], $2; told++; next }
        sum[$1] != $3 { printf "table %s of the restored %s has other values than when it was backed up\n", $1, name; told++ }
    ' "$scratch/contents" "$2"
}
