# shellcheck shell=sh disable=SC2034,SC2154
# migrate: apply one migration to a database, or take it back. Standard input, see payload.sh:
#   database NAME HOST PORT USER PASSWORD SERVED-BY   the user being the one that migrates
#   migration ID NAME PHASE UP-SHA256 DOWN-SHA256 DIRECTION
#   limits LOCK-MS STATEMENT-MS PATIENCE-SECONDS TOTAL-SECONDS
#   run TRANSACTION FROM BY DEPLOY TRACE   TRANSACTION "yes" or "no"; FROM is the first statement that is not done yet; TRACE "yes"
#       in a rehearsal: tell which locks it takes and which tables it rewrites
#   statement LINE SCHEMA INDEX BASE64   in order; INDEX is the one that it makes concurrently
#
# In one transaction nothing of a migration stays when it fails. Without one each statement stays, and the table says after
# which it stopped. A statement that waits too long for a lock is given up, since everybody else waits behind it, and tried again
# after a pause. The lock of migrations belongs to the session that does the work: it is free only when nothing works there any
# more, also when psql was killed or the connection was lost.
#
# needs: user
#
# user is the application's user, who may not be able to change what psql is or loads (programs.sh).
#
# Emits: statement NUMBER MILLISECONDS for each that is done; lock NUMBER MODE TABLE, rewrite NUMBER TABLE; tries COUNT; migrated
# STATE.

database_limit=60
table=slipway.migrations

# include output.sh
# include payload.sh
# include postgres.sh
# include owner_sql.sh
# include programs.sh

refuse_programs "$user"
need psql systemd-run base64
scratch=$(private_folder)
watcher=
clean_up() {
    [ -z "$watcher" ] || kill "$watcher" 2>/dev/null || :
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

count=0
: >"$scratch/lines"
payload_line() {
    case $1 in
        database)
            shift
            use_owner "$@"
            ;;
        migration) id=$2 called=$3 phase=$4 up_sha256=$5 down_sha256=$6 direction=$7 ;;
        limits) lock_ms=$2 statement_ms=$3 patience=$4 total=$5 ;;
        run) transaction=$2 from=$3 by=$4 deploy=$5 trace=$6 ;;
        statement)
            count=$((count + 1))
            printf '%s\t%s\t%s\n' "$2" "$3" "$4" >>"$scratch/lines"
            printf '%s' "$5" | base64 -d >"$scratch/statement.$count"
            ;;
        *) fail usage "unknown line '$1'" ;;
    esac
}
read_lines payload_line migration
# The shell counts with them, and bash would run what stands in "a[$(…)]".
case $lock_ms$statement_ms$patience$total$from in *[!0-9]*) fail usage 'a limit, or the first statement, is no number' ;; esac
label=${id}_$called
if [ "$direction" = up ]; then ended_as=applied; else ended_as=reverted; fi
# psql writes it where nothing of the statements' own output can be taken for it.
mark="@$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')"
# Of what is traced: the server is told this one, and whoever sees the session's statements there.
trace_mark="@$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')"

# line_of NUMBER: set line, schema and index of a statement.
line_of() { IFS=$us read -r line schema index <<END_OF_LINE
$(sed -n "$1s/$tab/$us/gp" "$scratch/lines")
END_OF_LINE
}

# record STATE STATEMENT ERROR: print the statement that writes this migration's row. now() is when its transaction began.
record() {
    case $1 in running) ended=null ;; *) ended='pg_catalog.clock_timestamp()' ;; esac
    cat <<SQL
insert into $table as row (id, name, phase, direction, state, up_sha256, down_sha256, statement, statements, by, deploy, started, ended,
        milliseconds, error)
    values ($(literal "$id"), $(literal "$called"), $(literal "$phase"), '$direction', '$1', '$up_sha256', '$down_sha256', $2, $count,
        $(literal "$by"), $(literal "$deploy"), pg_catalog.now(), $ended, 0, $(literal "$3"))
    on conflict (id) do update set name = excluded.name, phase = excluded.phase, direction = excluded.direction, state = excluded.state,
        up_sha256 = excluded.up_sha256, down_sha256 = excluded.down_sha256, statement = excluded.statement,
        statements = excluded.statements, by = excluded.by, deploy = excluded.deploy, error = excluded.error, ended = excluded.ended,
        started = case row.state when 'running' then row.started else excluded.started end;
update $table set milliseconds = 1000::float8 * pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - started) where id = $(literal "$id");
SQL
}

# lock_or_quit: print what takes the lock of migrations, or ends psql.
lock_or_quit() {
    direct_or_quit "$mark"
    cat <<SQL
select pg_catalog.pg_try_advisory_lock($owner_lock) as slipway_locked, pg_catalog.pg_backend_pid() as slipway_pid \\gset
\\if :slipway_locked
\\else
$(lock_holder "$mark")
\\warn $mark busy
\\quit
\\endif
\\warn $mark pid :slipway_pid
select pg_catalog.to_regclass('$table') is null as slipway_fresh \\gset
\\if :slipway_fresh
create schema if not exists slipway;
create table if not exists $table (id text primary key, name text not null, phase text not null, direction text not null,
    state text not null, up_sha256 text not null, down_sha256 text not null, statement int not null, statements int not null, by text not null,
    deploy text not null, started timestamptz not null, ended timestamptz, milliseconds bigint not null, error text not null);
comment on table $table is 'Slipway, format 1: which migrations this database has';
\\endif
SQL
    own_table "$mark"
}

# expect_unchanged: print what ends psql if somebody else has moved this migration on since it was looked at.
expect_unchanged() {
    half="direction = '$direction' and state in ('running', 'failed')"
    case $direction in
        up) wrong="state = 'applied' or ($half and statement <> $((from - 1)))" ;;
        *) wrong="state = 'reverted' or ($half and statement <> $((from - 1)))" ;;
    esac
    cat <<SQL
select count(*) > 0 as slipway_moved from $table where id = $(literal "$id") and ($wrong) \\gset
\\if :slipway_moved
\\warn $mark moved
\\quit
\\endif
SQL
}

# compose: print the script of one attempt, from the statement $from on.
compose() {
    owner_head
    lock_or_quit
    expect_unchanged
    printf "set lock_timeout = '%sms';\nset statement_timeout = '%sms';\n" "$lock_ms" "$statement_ms"
    [ "$transaction" = yes ] || record running $((from - 1)) ''
    echo 'reset search_path;'
    [ "$transaction" = no ] || echo 'begin;'
    number=$from
    while [ "$number" -le "$count" ]; do
        line_of "$number"
        if [ -n "$index" ] || [ "$trace" = yes ]; then
            own_begins
            [ -z "$index" ] || drop_invalid
            [ "$trace" = no ] || remember_files
            own_ends
        fi
        printf '\\warn %s begin %s\n' "$mark" "$number"
        read_as_parsed
        cat "$scratch/statement.$number"
        # A comment at the end of the statement must not hide the semicolon.
        printf '\n;\n'
        if [ -n "$index" ] || [ "$transaction" = no ]; then
            own_begins
            [ -z "$index" ] || require_valid
            [ "$transaction" = yes ] || printf 'update %s set statement = %s where id = %s;\n' "$table" "$number" "$(literal "$id")"
            own_ends
        fi
        printf '\\warn %s end %s\n' "$mark" "$number"
        if [ "$trace" = yes ]; then
            own_begins
            trace_statement
            own_ends
        fi
        number=$((number + 1))
    done
    # What the statements have set must not keep the row from being written.
    printf 'set lock_timeout = 0;\nset statement_timeout = 0;\nreset role;\n'
    own_begins
    record "$ended_as" "$count" ''
    [ "$transaction" = no ] || printf '\\warn %s commit\ncommit;\n' "$mark"
    cat <<SQL
\\warn $mark finished
select pg_catalog.pg_advisory_unlock($owner_lock) as slipway_unlocked \\gset
\\if :slipway_unlocked
\\else
\\warn $mark pooled
\\endif
SQL
}

# read_as_parsed: print the settings by which psql finds the end of a quoted text. A statement may have changed them, so that psql
# takes for commands of its own what the parser on the controller has seen in quotes.
read_as_parsed() { printf "set standard_conforming_strings = on;\nset client_encoding = 'UTF8';\n"; }

# own_begins, own_ends: print what stands around statements of Slipway's own between those of a migration: they find nothing but
# PostgreSQL's own (see owner_head), and the migration's search_path stays as it is. It is unset before the next statement: psql
# puts a variable's text in place of "[1:slipway_path]", and would take a backslash in it for a command.
own_begins() {
    read_as_parsed
    cat <<'SQL'
select pg_catalog.current_setting('search_path') as slipway_path, pg_catalog.current_schemas(false) as slipway_schemas \gset
set search_path = '';
SQL
}
own_ends() {
    cat <<'SQL'
select pg_catalog.set_config('search_path', :'slipway_path', false) \g /dev/null
\unset slipway_path
\unset slipway_schemas
SQL
}

# its_index: print the condition that finds this statement's index.
its_index() {
    printf "c.relname = %s and n.nspname = %s" "$(literal "$index")" "$([ -n "$schema" ] && literal "$schema" || echo "any (:'slipway_schemas'::pg_catalog.name[])")"
}
# An index that could not be finished stays, costs every write, and IF NOT EXISTS would take it for the real one.
drop_invalid() {
    cat <<SQL
select pg_catalog.format('drop index concurrently %I.%I', n.nspname, c.relname) from pg_catalog.pg_index i
    join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where not i.indisvalid and $(its_index) \\gexec
SQL
}
require_valid() {
    cat <<SQL
select count(*) > 0 as slipway_invalid from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace where not i.indisvalid and $(its_index) \\gset
\\if :slipway_invalid
\\warn $mark invalid
\\quit
\\endif
SQL
}

# A table that is written anew gets another file. remember_files and trace_statement print what compares them, and which locks the
# transaction has by then; it keeps them to its end.
remember_files() {
    cat <<SQL
select coalesce(pg_catalog.string_agg(pg_catalog.concat(oid, ':', pg_catalog.pg_relation_filenode(oid)), ','), '') as slipway_files
    from pg_catalog.pg_class where relkind in ('r', 'm') and oid >= 16384::oid \\gset
SQL
}
trace_statement() {
    cat <<SQL
select coalesce(pg_catalog.string_agg(pg_catalog.format('rewrite %s %I.%I', $number, n.nspname, c.relname), E'\\n$trace_mark '), '') as slipway_traced
    from pg_catalog.unnest(pg_catalog.string_to_array(:'slipway_files', ',')) as file
    join pg_catalog.pg_class c on c.oid = pg_catalog.split_part(file, ':', 1)::oid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where pg_catalog.pg_relation_filenode(c.oid) is distinct from pg_catalog.split_part(file, ':', 2)::oid \\gset
\\warn $trace_mark :slipway_traced
select coalesce(pg_catalog.string_agg(distinct pg_catalog.format('lock %s %s %I.%I', $number, l.mode, n.nspname, c.relname), E'\\n$trace_mark '), '') as slipway_traced
    from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation' and l.granted and c.relkind in ('r', 'p', 'm')
    and c.oid >= 16384::oid and n.nspname <> 'slipway' \\gset
\\warn $trace_mark :slipway_traced
SQL
}

milliseconds() { date +%s%3N; }

# show_waiting: while a statement works, tell how long, and whose lock it waits for. It asks in a session of its own, which stays
# open: a try may be given up within a second.
show_waiting() {
    mkfifo "$scratch/ask" "$scratch/hear"
    exec 6<>"$scratch/hear" 7<>"$scratch/ask"
    { owner_sql "$scratch/ask" "$name" "$total" 2>&1 >/dev/null | stdbuf -oL cut -b 1-4000 >&6; } &
    owner_head >&7
    # Soon enough to see whose lock it is before a try is given up; then every two seconds.
    tick=$((lock_ms > 1600 ? 400 : lock_ms / 4))
    tick=$(printf '0.%03d' "$tick")
    before=
    while sleep "$tick"; do
        now=$(cat "$scratch/now" 2>/dev/null) || now=
        if [ -z "$now" ] || [ "$now" != "$before" ]; then
            before=$now
            looked=0
            continue
        fi
        [ $(($(milliseconds) - looked)) -ge 2000 ] || continue
        looked=$(milliseconds)
        read -r now_pid <"$scratch/pid" || continue
        ask_about "$now_pid" >&7
        while IFS= read -r seen <&6; do case $seen in "$mark look "*) break ;; esac done
        seen=$(printf '%s' "${seen#"$mark look "}" | cut -c1-200)
        [ -s "$scratch/now" ] || continue
        case $seen in waits*) printf '%s\n' "$seen" >"$scratch/waits" ;; esac
        note "$label: statement ${now% *} of $count, $((($(milliseconds) - ${now#* }) / 1000)) s${seen:+; $seen}"
    done
}

# ask_about PID: print what asks for whom a session waits, and how far an index is.
ask_about() {
    cat <<SQL
set search_path = '';
select coalesce((select pg_catalog.format('waits for %s (process %s%s): %s', coalesce(nullif(application_name, ''), usename), pid,
        case when state = 'idle in transaction' then ', which has left a transaction open' else '' end,
        pg_catalog.left(pg_catalog.regexp_replace(query, '[[:cntrl:][:space:]]+', ' ', 'g'), 80))
        from pg_catalog.pg_stat_activity where pid = any(pg_catalog.pg_blocking_pids($1)) limit 1),
    (select pg_catalog.format('%s: %s %%', phase, 100 * blocks_done / nullif(blocks_total, 0))
        from pg_catalog.pg_stat_progress_create_index where pid = $1), '') as slipway_seen \\gset
\\warn $mark look :slipway_seen
SQL
}

# attempt: run psql once. Sets outcome (finished, busy, pooler, foreign, moved, invalid, unconnected, lost, failed), at (the statement that was begun last),
# sqlstate and said.
attempt() {
    outcome=lost
    at=$((from - 1))
    done_until=$at
    committing=no
    pooled=no
    holder=
    lines=0
    errors=0
    traces=0
    rm -f "$scratch/now" "$scratch/pid"
    [ -p "$scratch/pipe" ] || mkfifo "$scratch/pipe"
    compose >"$scratch/script"
    : >"$scratch/sql.err"
    # What a migration raises, or a trigger that it calls, may be lines without end, and without an end of a line.
    (
        psql_status=0
        owner_sql "$scratch/script" "$name" "$total" >/dev/null || psql_status=$?
        printf '\n%s status %s\n' "$mark" "$psql_status" >&2
    ) 2>&1 | stdbuf -oL cut -b 1-4000 >"$scratch/pipe" &
    psql_status=
    while IFS= read -r heard; do
        case $heard in
            "$mark pid "*) printf '%s\n' "${heard##* }" >"$scratch/pid" ;;
            "$mark begin "*)
                at=${heard##* }
                begun=$(milliseconds)
                printf '%s %s\n' "$at" "$begun" >"$scratch/now"
                ;;
            "$mark end "*)
                done_until=${heard##* }
                : >"$scratch/now"
                took=$(($(milliseconds) - begun))
                printf '%s %s\n' "$done_until" "$took" >>"$scratch/times"
                ;;
            "$trace_mark lock "* | "$trace_mark rewrite "*)
                traces=$((traces + 1))
                [ "$traces" -gt 10000 ] || printf '%s\n' "${heard#"$trace_mark "}" >>"$scratch/traced"
                ;;
            "$trace_mark "*) ;;
            "$mark commit") committing=yes ;;
            "$mark pooled") pooled=yes ;;
            "$mark holder "*) holder=${heard#"$mark holder "} ;;
            "$mark status "*)
                psql_status=${heard##* }
                break
                ;;
            "$mark "*) outcome=${heard##* } ;;
            psql:*ERROR:* | psql:*FATAL:*)
                errors=$((errors + 1))
                [ "$errors" -gt 1000 ] || printf '%s\n' "$heard" >>"$scratch/sql.err"
                ;;
            *)
                lines=$((lines + 1))
                [ "$lines" -gt 1000 ] || printf '%s\n' "$heard" >>"$scratch/sql.err"
                ;;
        esac
    done <"$scratch/pipe"
    : >"$scratch/now"
    sqlstate=
    read_error
    # psql tells of the end before it has sent what it takes for one statement with it: a function called begin, say.
    [ "$outcome" != finished ] || [ "$psql_status" = 0 ] || outcome=lost
    [ -s "$scratch/pid" ] || [ "$outcome" != lost ] || outcome=unconnected
    [ -z "$sqlstate" ] || [ "$outcome" != lost ] || outcome=failed
    # The server ends a session with these when it stops or when somebody ends it: what it did then is known by looking.
    case $sqlstate in 57P01 | 57P02 | 57P03 | 08*) outcome=lost ;; esac
}

# read_error: set sqlstate and said from what psql wrote. "psql:<stdin>:7: ERROR:  55P03: canceling …" is the form of VERBOSITY
# verbose.
read_error() {
    said=$(sed -n 's/^psql:<stdin>:[0-9]*: \(ERROR\|FATAL\): *\(.*\)/\2/p' "$scratch/sql.err" | head -n 1 | cut -c1-300)
    case $said in
        [0-9A-Z][0-9A-Z][0-9A-Z][0-9A-Z][0-9A-Z]:*)
            sqlstate=${said%%:*}
            said=${said#*: }
            said=${said# }
            detail=$(sed -n 's/^DETAIL: *//p' "$scratch/sql.err" | head -n 1 | cut -c1-200)
            said=$said${detail:+. ${detail%.}}
            ;;
        *) said=$(grep -v '^ *$' "$scratch/sql.err" | tail -n 3 | tr -s '\n\t ' '   ' | sed 's/^psql: *\(error: *\)\{0,1\}//' | cut -c1-300) ;;
    esac
}

# may_try_again: whether somebody else was in the way, who will be gone.
may_try_again() {
    case $outcome in busy) return 0 ;; failed) ;; *) return 1 ;; esac
    # lock_not_available, deadlock_detected, serialization_failure
    case $sqlstate in 55P03 | 40P01 | 40001) return 0 ;; esac
    return 1
}

# keep_failure TEXT: write into the table where it stopped. If that cannot be written, the statement's own row says it.
keep_failure() {
    kept=$done_until
    [ "$transaction" = no ] || kept=0
    {
        owner_head
        lock_or_quit
        record failed "$kept" "$1"
    } >"$scratch/script"
    owner_sql "$scratch/script" "$name" 30 >/dev/null 2>&1 || :
}

# fail_migration SENTENCE: end the step, saying what stays of the migration.
fail_migration() {
    if [ "$transaction" = no ] && [ "$done_until" -gt 0 ]; then fail migration-half "$1. $(standing)"; fi
    case $sqlstate in 55P03) fail migration-lock "$1. $(standing)" ;; esac
    fail migration "$1. $(standing)"
}
# standing: say what stays of it.
standing() {
    if [ "$transaction" = yes ]; then
        printf 'Nothing of %s was kept' "$label"
    elif [ "$done_until" -eq 0 ]; then
        printf 'No statement of %s is done' "$label"
    elif [ "$done_until" -eq 1 ]; then
        printf 'Statement 1 of %s is done and stays' "$label"
    else
        printf 'Statements 1 to %s of %s are done and stay' "$done_until" "$label"
    fi
}

# find_out: after a lost connection, wait until the session is gone, which the lock tells, and read what it has done.
find_out() {
    {
        owner_head
        lock_or_quit
        printf "\\pset fieldsep ' '\nselect 'found', $(plain state), statement from %s where id = %s;\n" "$table" "$(literal "$id")"
    } >"$scratch/script"
    waited=0
    while [ "$waited" -lt 60 ]; do
        found=$(owner_sql "$scratch/script" "$name" 30 2>"$scratch/found.err" | head -c 4000)
        found_error=$(head -c 4000 "$scratch/found.err")
        case $found_error in *"$mark busy"* | *'psql: error'*) found_later=yes ;; *) found_later=no ;; esac
        if [ -n "$found" ] || [ "$found_later" = no ]; then
            case $found in
                "found $ended_as "*)
                    outcome=finished
                    return
                    ;;
                found*) [ "$transaction" = yes ] || done_until=${found##* } ;;
            esac
            return 0
        fi
        sleep 2
        waited=$((waited + 2))
    done
    fail migration-unknown "the connection to database $name was lost in statement $at of $count of $label, and it does not answer. Whether that statement is done is not known; see: invoke migrations --env=… when it answers"
}

: >"$scratch/times"
: >"$scratch/traced"
show_waiting >/dev/null &
watcher=$!
tries=0
since=$(date +%s)
while :; do
    attempt
    tries=$((tries + 1))
    [ "$outcome" != lost ] || find_out
    [ "$transaction" = yes ] || from=$((done_until + 1))
    if ! may_try_again || [ $(($(date +%s) - since)) -ge "$patience" ]; then break; fi
    [ "$transaction" = no ] || : >"$scratch/times"
    [ "$transaction" = no ] || : >"$scratch/traced"
    why='another task migrates it'
    [ "$outcome" = busy ] || why=$([ -s "$scratch/waits" ] && cat "$scratch/waits" || printf 'statement %s: %s' "$at" "$said")
    # From 0.2 s up to 10 s, and not at the same moment as somebody else who waits.
    delay=$((tries < 7 ? 100 << tries : 10000))
    delay=$((delay * $(shuf -i 50-100 -n 1) / 100))
    note "$label: $why; tries again in $((delay / 1000)).$((delay % 1000 / 100)) s"
    sleep "$((delay / 1000)).$(printf '%03d' $((delay % 1000)))"
done
while read -r number took; do emit statement "$number" "$took"; done <"$scratch/times"
while read -r kind number rest; do
    case $kind in
        lock) emit lock "$number" "${rest%% *}" "${rest#* }" ;;
        rewrite) emit rewrite "$number" "$rest" ;;
    esac
done <"$scratch/traced"
emit tries "$tries"
case $outcome in
    finished)
        [ "$pooled" = no ] || fail migration-pooler "$label is done, but another session had its end: $(explain_pooler)"
        emit migrated "$ended_as"
        ;;
    busy) fail migration-busy "$(told_busy "$patience" "$holder"); $label was not begun" ;;
    pooler) fail migration-pooler "database $name: $(explain_pooler)" ;;
    foreign) fail migration-table "database $name: $foreign_table" ;;
    moved) fail migration-moved "somebody else has moved $label on since it was looked at; nothing was done" ;;
    invalid)
        line_of "$at"
        keep_failure "the index $index is invalid"
        fail_migration "statement $at of $count of $label (line $line) has left the index $index invalid, so it is not done"
        ;;
    unconnected)
        explain_owner
        fail "$code" "cannot begin with $label in database $name: $said"
        ;;
    *)
        [ "$at" -ge "$from" ] || fail migration "cannot begin with $label in database $name: $said ($sqlstate)"
        line_of "$at"
        where="statement $at of $count of $label (line $line)"
        [ "$committing" = no ] || where="the end of $label's transaction"
        keep_failure "$where: ${said:-the connection was lost}"
        case $sqlstate in
            55P03) fail_migration "$where got no lock within $patience s, in $tries tries$([ -s "$scratch/waits" ] && printf '; it %s' "$(cat "$scratch/waits")")" ;;
            '') fail_migration "the connection to database $name was lost in $where${said:+: $said}" ;;
        esac
        fail_migration "$where failed: $said ($sqlstate)"
        ;;
esac
