# shellcheck shell=sh disable=SC2034,SC2154
# migration_tool: run the application's own migration tool in a release.
# needs: app home user release what file seconds patience
#
# what: up, down, or status, which only shows its status. file: has further environment variables for it, "-" for none. seconds: all of
# it ends within these, since nobody would hear how a tool has ended later. patience: how long to wait for the lock of migrations.
# Standard input, see payload.sh:
#   command WHAT BASE64         for status, and for what
#   environment BASE64          lines as in a file of EnvironmentFile=
#   database NAME HOST PORT USER PASSWORD SERVED-BY   the database whose lock of migrations it holds meanwhile; may be missing
#
# The lock is held by a session of its own, which ends with this step. The status is read before and after, also after a failure.
# A status that fails does not end the step: some tools end with another status than 0 when something is pending, or when the
# database is new.
#
# Emits: before LINE, after LINE; status WHEN EXIT; ran EXIT MILLISECONDS SENTENCE, with log LINE if it failed; pooled; looked.

database_limit=60

ends=$(($(date +%s) + seconds))
# remaining [RESERVE]: print the seconds that are left, without a reserve.
remaining() {
    left=$((ends - $(date +%s) - ${1:-0}))
    echo $((left > 5 ? left : 5))
}

# include as_user.sh
# include names.sh
# include output.sh
# include payload.sh
# include postgres.sh
# include owner_sql.sh
# include tool.sh
# include programs.sh

refuse_programs "$user"
need systemd-run base64
require_stamped release "$release"
folder=$home/releases/$release
[ -f "$folder/.slipway/complete" ] || fail incomplete "release $release is incomplete on this host"
scratch=$(private_folder)
awake=
clean_up() {
    [ -z "$awake" ] || kill "$awake" 2>/dev/null || :
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
name=
: >"$scratch/own"
: >"$scratch/given"
payload_line() {
    case $1 in
        command) printf '%s' "$3" | base64 -d >"$scratch/command.$2" ;;
        environment) printf '%s' "$2" | base64 -d >"$scratch/given" ;;
        database)
            shift
            use_owner "$@"
            ;;
        *) fail usage "unknown line '$1'" ;;
    esac
}
read_lines payload_line 'migration tool'
# take_own FILE: read its environment. The user reads it, so a link in the way leads to nothing that the user could not read. Root
# writes it, since the user's other processes could keep a file that one of them has open for writing.
take_own() {
    # shellcheck disable=SC2016
    as_user_for 10 "$user" sh -c 'head -c 65536 -- "$1" && printf "\n# whole\n"' sh "$1" 2>/dev/null |
        timeout 15 head -c 66000 >"$scratch/own"
    [ "$(tail -n 1 "$scratch/own" | tr -d '\0')" = '# whole' ]
}
if [ "$file" != - ]; then
    take_own "$folder/$file" ||
        fail migration-tool "release $release has no file $file that $user can read, which slipway_databases names as environment_file"
fi
mark="@$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')"

# hold_lock: take the lock of migrations in a session that stays open.
hold_lock() {
    command -v psql >/dev/null ||
        fail missing-tool "psql is not installed on this host, and the tool needs it for the lock of migrations: install postgresql-client"
    mkfifo "$scratch/ask" "$scratch/hear"
    exec 6<>"$scratch/hear" 7<>"$scratch/ask"
    (
        exec 7>&-
        owner_sql "$scratch/ask" "$name" "$((seconds + 60))" 2>&1 >/dev/null | stdbuf -oL cut -b 1-4000 >&6 || :
        printf '\n%s gone\n' "$mark" >&6
    ) &
    # Whoever writes to psql notices that it is gone only by writing.
    (while sleep 1; do echo; done >&7) 2>/dev/null 6>&- &
    awake=$!
    {
        owner_head
        # The session is idle while the tool works.
        cat <<'SQL'
select pg_catalog.set_config('idle_session_timeout', '0', false)
    where pg_catalog.current_setting('server_version_num')::int >= 140000 \g /dev/null
SQL
        direct_or_quit "$mark"
    } >&7
    since=$(date +%s)
    holder=
    : >"$scratch/sql.err"
    while :; do
        cat >&7 <<SQL
select case when pg_catalog.pg_try_advisory_lock($owner_lock) then 'locked' else 'busy' end as slipway_lock \\gset
$(lock_holder "$mark")
\\warn $mark :slipway_lock
SQL
        hear
        case $heard in
            locked) return 0 ;;
            pooler) fail migration-pooler "database $name: $(explain_pooler)" ;;
            gone)
                explain_owner
                fail "$code" "cannot take the lock of migrations in database $name as $db_user: $said"
                ;;
        esac
        { [ $(($(date +%s) - since)) -lt "$patience" ] && [ "$(remaining 30)" -gt 5 ]; } ||
            fail migration-busy "$(told_busy "$patience" "$holder"); the tool was not begun"
        note "another task migrates $name; tries again"
        sleep 1
    done
}
# hear: set heard to the next word of the session, and keep what else it says.
hear() {
    while IFS= read -r heard <&6; do
        case $heard in
            "$mark holder "*) holder=${heard#"$mark holder "} ;;
            "$mark "*)
                heard=${heard#"$mark "}
                return 0
                ;;
            *)
                heard_lines=$((${heard_lines:-0} + 1))
                [ "$heard_lines" -gt 1000 ] || printf '%s\n' "$heard" >>"$scratch/sql.err"
                ;;
        esac
    done
}
give_lock_back() {
    cat >&7 <<SQL
select case when pg_catalog.pg_advisory_unlock($owner_lock) then 'unlocked' else 'pooled' end as slipway_lock \\gset
\\warn $mark :slipway_lock
\\quit
SQL
    hear
    [ "$heard" = unlocked ] || emit "$heard"
}

# show_status WHEN
show_status() {
    limit=$(remaining)
    run_tool "$folder" "$user" status "$((limit < 300 ? limit : 300))"
    while IFS= read -r line; do emit "$1" "$line"; done <"$scratch/said"
    emit status "$1" "$tool_status"
}

if [ "$what" = status ]; then
    show_status before
    emit looked
    exit 0
fi
[ -z "$name" ] || hold_lock
show_status before
began=$(date +%s%3N)
run_tool "$folder" "$user" "$what" "$(remaining 20)"
took=$(($(date +%s%3N) - began))
last_line=
if [ "$tool_status" -ne 0 ]; then tell_output "$(cat "$scratch/said")"; fi
emit ran "$tool_status" "$took" "$(tool_ended)${last_line:+: $last_line}"
show_status after
[ -z "$name" ] || give_lock_back
emit looked
