# shellcheck shell=sh disable=SC2154
# health: try every check repeatedly, until all critical ones pass in one round.
# needs: user release patience interval stable unproven max_restarts once
#
# It ends when patience (seconds) is over; after one round, if once is "once". The first pauses are short and double up to
# interval (milliseconds), so that a fast start costs no waiting. Then everything must stay good for stable milliseconds. A
# service of the application must also have been up for unproven milliseconds, unless a check asks a port of this host on which
# the service listens. A service that systemd has restarted counts again when it has been up for the longer of stable and
# unproven; after more than max_restarts restarts, for a minute. release is the folder in which commands run.
#
# Standard input: a check in each line. Its fields are separated by US (\037), lists in a field by RS (\036):
#   kind name critical seconds field...
# GS (\035) in a line is the port of the slot that the release runs in. A release without a slot has no such port, so the check
# is left out. FS (\034) is the release's version, SUB (\032) the version as an extended regular expression.
#
# At most the limits below are read of an answer or an output; docs/settings.md lists them.
# An answer of this host counts only if its program runs as root, as the application's user or as a user of served_by, or in a
# unit that is checked. Otherwise somebody else has taken the port while the application did not listen.
# include at_most.sh
# include listeners.sh
# include unit_said.sh
# include programs.sh
settled=$((stable > unproven ? stable : unproven))

body_kb=1024
head_kb=256
said_bytes=65536

us=$(printf '\037')
rs=$(printf '\036')
require_programs "$user"
scratch=$(private_folder)
trap 'rm -rf "$scratch"' EXIT

# fill MARK VALUE: replace every MARK in $line by VALUE.
fill() {
    while :; do
        case $line in
            *"$1"*) line=${line%%"$1"*}$2${line#*"$1"} ;;
            *) return 0 ;;
        esac
    done
}

# version: print the release's version. RELEASE may be the link "current".
version() {
    id=$(readlink -f "$release")
    id=${id##*/}
    echo "${id#*-}"
}

checked_units=
gs=$(printf '\035')
fs=$(printf '\034')
sub=$(printf '\032')
port=
[ ! -f "$release/.slipway/slot" ] || read -r _ port <"$release/.slipway/slot" || :
adopted=
[ ! -e "$release/.slipway/adopted" ] || adopted=yes
set --
while IFS= read -r line; do
    [ -z "$port" ] || fill "$gs" "$port"
    # A release that another tool deployed has its folder's name as its version, and no application answers that.
    case $adopted$line in
        yes*"$fs"* | yes*"$sub"*)
            note 'a check that asks for the version is left out: another tool deployed this release'
            continue
            ;;
    esac
    case $line in
        *"$fs"*) fill "$fs" "$(version)" ;;
    esac
    case $line in
        *"$sub"*) fill "$sub" "$(version | sed 's/[.+]/\\&/g')" ;;
    esac
    case $line in
        *"$gs"*) note 'a check of a slot is left out: this release does not run in one' ;;
        *)
            set -- "$@" "$line"
            case $line in
                "unit$us"*)
                    line=${line%"$us."}
                    checked_units="$checked_units ${line##*"$us"}"
                    ;;
            esac
            ;;
    esac
done

# now: set now to the milliseconds of uptime, in steps of 10. It starts no program, and nobody can set this clock.
now() {
    IFS='. ' read -r whole fraction _ </proc/uptime
    now=$((whole * 1000 + 1$fraction * 10 - 1000))
}

# Each function of a check sets detail, and took (milliseconds) if it has measured the time itself.

check_http() { # url status body jq-filter jq-value max-ms headers expected-headers served-by
    url=$1 status=$2 body=$3 filter=$4 value=$5 most=$6 expected_headers=$8
    may_answer=$(numbers_of "$user" "$9")
    write_request "$url" "$7"
    rm -f "$scratch/body" "$scratch/head"
    # Headers and the URL may hold a secret, so these are sent only to a program that may get it.
    case $url in *[@?]*) headers=${headers:-$url} ;; esac
    if [ -n "$headers" ]; then
        split_url "$url"
        may_send "$url_host" "$url_port" "$may_answer" "$applications" || return 1
    fi
    answer=$(at_most "$body_kb" curl --disable --globoff --silent --show-error --max-time "$seconds" --output "$scratch/body" \
        --dump-header "$scratch/head" --write-out '%{http_code} %{time_total} %{remote_ip} %{remote_port} %{local_ip}' --config "$scratch/request" \
        2>"$scratch/err") || is_cut "$scratch/body" "$body_kb" || is_cut "$scratch/head" "$body_kb" || {
        detail=$(sed 's/^curl: ([0-9]*) //' "$scratch/err" | tr '\n' ' ')
        return 1
    }
    read -r code whole at at_port from <<END_OF_ANSWER
$answer
END_OF_ANSWER
    fraction=${whole#*.}000
    took=$((${whole%%.*} * 1000 + 1${fraction%"${fraction#???}"} - 1000))
    if is_strangers "$at" "$at_port" "$from"; then return 1; fi
    if is_cut "$scratch/head" "$head_kb"; then
        detail="the answer's headers are larger than $head_kb kB, which is all that is read"
        return 1
    fi
    if [ "$code" = "$status" ] && [ -z "$body$filter$most$expected_headers" ]; then
        detail="HTTP $code"
        return 0
    fi
    body_said=$(head -c 200 "$scratch/body" 2>/dev/null | tr '\n\r\t\0' '    ')
    body_said=${body_said%"${body_said##*[! ]}"}
    if [ "$code" != "$status" ]; then
        detail="HTTP $code, expected $status: $body_said"
    elif [ -n "$body$filter" ] && is_cut "$scratch/body" "$body_kb"; then
        detail="the body is larger than $body_kb kB, which is all that is read: $body_said"
    elif [ -n "$body" ] && ! grep -Eqe "$body" "$scratch/body"; then
        detail="the body does not match '$body': $body_said"
    elif [ -n "$filter" ] && found=$(jq -r "$filter" <"$scratch/body" 2>&1 | head -c 200) && [ "$found" != "$value" ]; then
        detail="$filter is '$found', expected '$value'"
    elif [ -n "$most" ] && [ "$took" -gt "$most" ]; then
        detail="it answered after $took ms, limit $most ms"
    elif ! expect_headers "$expected_headers"; then
        detail="the answer's header $missing"
    else
        detail="HTTP $code"
        return 0
    fi
    return 1
}

applications="the application's: its user is $user"
# is_strangers ADDRESS PORT FROM: whether somebody else than the application listens there; sets detail. FROM is this host's end
# of the connection: if it equals ADDRESS, the address belongs to this host.
is_strangers() {
    case $1 in
        127.* | ::1) ;;
        "$3") [ -n "$1" ] || return 1 ;;
        *) return 1 ;;
    esac
    # shellcheck disable=SC2086
    find_stranger "$1" "$2" "$may_answer" $checked_units
    if [ -n "$stranger" ]; then
        tell_stranger "$2" "$applications"
        return 0
    fi
    # Nobody listens there, although there was an answer: the program has ended, or the kernel forwards the port to a container.
    case $listened$1 in
        no127.* | no::1) grep -qs 1 /proc/sys/net/ipv4/conf/*/route_localnet || { detail="whoever answered at port $2 is gone" && return 0; } ;;
    esac
    return 1
}

# may_send NAME PORT USERS ELSE: whether a secret may be sent there. ELSE says whose programs may get it, for the message.
may_send() {
    # shellcheck disable=SC2086
    ! may_tell "$1" "$2" "$3" $checked_units || return 0
    if [ -z "$stranger" ]; then
        detail="Failed to connect to $1 port $2: nobody listens there"
    else
        tell_stranger "$2" "$4"
    fi
    return 1
}

# tell_stranger PORT ELSE: set detail to a sentence about the stranger at PORT. ELSE is that of may_send.
tell_stranger() {
    detail="at port $1 listens a program of $stranger, which is none of $2; if it is to be so, say served_by: $stranger in the check, or add one of type unit for what runs it"
}

# URL and request headers may hold a secret: curl reads them from a private file, not from its command line.
write_request() { # url headers
    printf 'url = "%s"\n' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')" >"$scratch/request"
    headers=$2
    [ -n "$headers" ] || return 0
    printf '%s\n' "$headers" | tr "$rs" '\n' | sed 's/[\\"]/\\&/g; s/.*/header = "&"/' >>"$scratch/request"
}

expect_headers() {
    [ -n "$1" ] || return 0
    printf '%s\n' "$1" | tr "$rs" '\n' >"$scratch/expected"
    while IFS= read -r pair; do
        header=${pair%%:*}
        pattern=${pair#*: }
        got=$(tr -d '\r' <"$scratch/head" | awk -v n="$header" 'tolower($0) ~ "^" tolower(n) ":" { sub(/^[^:]*: */, ""); print; exit }')
        if ! printf '%s\n' "$got" | grep -Eqe "$pattern"; then
            missing="$header is '$got', expected '$pattern'"
            return 1
        fi
    done <"$scratch/expected"
}

# bash is on every Debian and RHEL host and opens a TCP connection without another package.
check_tcp() { # host port
    # shellcheck disable=SC2016
    timeout "$seconds" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>"$scratch/err" || {
        explain_tcp "$?"
        return 1
    }
    detail='connected'
}

explain_tcp() {
    if [ "$1" -eq 124 ]; then
        detail="no answer within $seconds s"
    else
        detail=$(sed -n 's/.*: //p' "$scratch/err" | tail -n 1)
    fi
}

check_redis() { # host port password served-by
    [ -z "$3" ] || may_send "$1" "$2" "$(numbers_of redis valkey "$user" "$4")" "redis's" || return 1
    # shellcheck disable=SC2016
    answer=$(WORD=$3 timeout "$seconds" bash -c '
        exec 3<>"/dev/tcp/$0/$1" || exit 1
        [ -z "$WORD" ] || printf "AUTH %s\r\n" "$WORD" >&3
        printf "PING\r\n" >&3
        while IFS= read -r -n 1024 line <&3; do
            case $line in +PONG*) exit 0 ;; -*) printf "%s" "${line%?}"; exit 2 ;; esac
        done; exit 3' "$1" "$2" 2>"$scratch/err") || {
        explain_tcp "$?"
        [ -z "$answer" ] || detail="it answers $answer"
        return 1
    }
    detail='PONG'
}

check_postgresql() { # host port database user password served-by
    [ -z "$5" ] || may_send "$1" "$2" "$(numbers_of postgres pgbouncer "$user" "$6")" "PostgreSQL's" || return 1
    if [ -z "$5" ]; then
        command -v pg_isready >/dev/null || { detail='pg_isready is not installed (postgresql-client)' && return 1; }
        detail=$(pg_isready --timeout="${seconds%.*}" --host="$1" --port="$2" --dbname="$3" 2>&1) || return 1
        return 0
    fi
    command -v psql >/dev/null || { detail='psql is not installed (postgresql-client)' && return 1; }
    (
        export PGPASSWORD="$5" PGCONNECT_TIMEOUT=$((${seconds%.*} + 1))
        at_most $((said_bytes / 1024)) timeout "$seconds" psql --no-psqlrc --no-password --tuples-only --no-align \
            --host="$1" --port="$2" --dbname="$3" --username="$4" --command='select 1'
    ) >"$scratch/out" 2>&1 || {
        detail=$(head -c 1000 "$scratch/out" | tr '\0' ' ')
        [ -n "$detail" ] || detail="no answer within $seconds s"
        return 1
    }
    detail='it answers'
}

# Run a command as the application's user, in a unit of its own, so that everything it leaves running ends with it, and root
# enforces its time limit. Only the end of its output is kept, and nobody waits for that if the command succeeds.
check_command() { # command
    [ -p "$scratch/said" ] || mkfifo "$scratch/said"
    timeout "$((${seconds%.*} + 3))" tail -c 2000 <"$scratch/said" >"$scratch/out" 2>/dev/null &
    reader=$!
    status=0
    # The command comes on standard input, because everybody on the host can read a command line.
    # shellcheck disable=SC2016
    printf '%s\n' "$1" | systemd-run --quiet --pipe --wait --collect --property=User="$user" --property=WorkingDirectory="$release" \
        --property=NoNewPrivileges=yes --property=CapabilityBoundingSet= --property=TasksMax=1000 \
        --property=KillSignal=SIGKILL --property=RuntimeMaxSec="$((${seconds%.*} + 1))" -- \
        /usr/bin/env -i PATH="$settings_path" LC_ALL="$LC_ALL" HOME=/nonexistent timeout --kill-after=1 "$seconds" \
        sh -c 'command=$$(cat) && exec </dev/null && eval "$$command"' >"$scratch/said" 2>&1 || status=$?
    if [ "$status" -eq 0 ]; then
        detail='status 0'
        kill "$reader" 2>/dev/null || :
        wait "$reader" 2>/dev/null || :
        return 0
    fi
    wait "$reader" || :
    said=$(tr -d '\000\r\036' <"$scratch/out" | sed '/^[[:space:]]*$/d' | tail -n "$said_lines" | cut -c "1-$said_characters")
    last_line=${said##*"$newline"}
    detail="status $status${last_line:+: $last_line}"
    [ "$status" -ne 124 ] || detail="no end within $seconds s${last_line:+: $last_line}"
    # Report the lines only if there are more than the one that is in detail.
    if [ "$said" = "$last_line" ]; then said=; else said=$(printf '%s\n' "$said" | tr '\n' "$rs"); fi
    return 1
}

# A unit that systemd has given up, or that keeps dying, does not get better by waiting, so fatal ends the loop.
check_unit() { # unit own|other
    systemctl show --property=ActiveState,SubState,NRestarts,Result,Type,ExecMainStatus,ActiveEnterTimestampMonotonic,ConditionResult \
        "$1" >"$scratch/unit"
    active='' sub='' restarts=0 result='' type='' main='' entered=0 condition=''
    while IFS='=' read -r key value; do
        case $key in
            ActiveState) active=$value ;;
            SubState) sub=$value ;;
            NRestarts) restarts=$value ;;
            Result) result=$value ;;
            Type) type=$value ;;
            ExecMainStatus) main=$value ;;
            ActiveEnterTimestampMonotonic) entered=$value ;;
            ConditionResult) condition=$value ;;
        esac
    done <"$scratch/unit"
    now
    up=$((now - ${entered:-0} / 1000))
    [ "$2" != own ] || emit restarts "$1" "$restarts" >>"$scratch/round"
    # See systemd.exec(5), $SERVICE_RESULT. The reason may be in no log, because a killed program writes nothing.
    case $result in
        success | '')
            why=
            case $sub in auto-restart | dead) [ "$condition" != yes ] || why='it ended without a failure: by itself, or by systemctl stop' ;; esac
            ;;
        oom-kill) why='oom-kill: it was killed for its memory; see MemoryMax= of the unit, and the memory of the host' ;;
        signal | core-dump) why="$result: it was killed by signal $main" ;;
        exit-code) why="exit-code $main" ;;
        *) why=$result ;;
    esac
    detail="$active ($sub)"
    restless=
    [ "$restarts" -eq 0 ] || [ "$up" -ge "$((restarts > max_restarts ? 60000 : settled))" ] || restless=yes
    seen=
    eval "seen=\${restarts_$index:-$restarts} restarts_$index=$restarts"
    if [ -n "${watching:-}" ] && { [ "$restarts" -gt "$seen" ] || [ "$sub" = auto-restart ]; }; then
        fatal="it did not stay up${why:+ ($why)}"
    elif [ "$restarts" -gt "$max_restarts" ] && [ "$once" != once ]; then
        fatal="it restarted $restarts times${why:+ ($why)}"
    elif [ "$active" = failed ]; then
        fatal="it failed: $why"
    elif [ "$active$restless" = active ] || [ "$type/$active/$result" = oneshot/inactive/success ]; then
        case $2/$type/$1 in
            */oneshot/*) ;;
            own/*.service) [ "$up" -ge "$unproven" ] || young="$young$up $1$newline" ;;
        esac
        [ "$restarts" -eq 0 ] || detail="$detail, restarts by systemd: $restarts"
        return 0
    elif [ "$active" = active ]; then
        detail="it died, and systemd restarted it $((up / 1000)) s ago (restarts so far: $restarts)"
    fi
    if [ -n "$fatal$restless" ] || [ "$sub" = auto-restart ] || [ "$active/$condition" = inactive/yes ]; then
        detail="${fatal:-$detail${why:+, $why}}"
        unit_said "$1"
    fi
    return 1
}

run_check() { # the definition's fields
    kind=$1 name=$2 critical=$3 seconds=$4
    shift 4
    detail='' took='' fatal='' said=''
    now
    began=$now
    passed=yes
    "check_$kind" "$@" || passed=no
    if [ -z "$took" ]; then
        now
        took=$((now - began))
    fi
    if [ "$passed" = no ] && [ "$critical" = yes ]; then
        good=no
        [ -z "$fatal" ] || hopeless=yes
        told=
        eval "told=\${told_$index:-}"
        # A failure in the first two seconds is not reported, because the application is still starting. After that, a missing
        # or slow answer is reported as not there yet.
        if [ "$detail" != "$told" ] && { [ "$((now - start))" -ge 2000 ] || [ -n "$fatal" ]; }; then
            case $detail in
                'Failed to connect'*) note "$name: nothing listens there yet" ;;
                'Operation timed out'*) note "$name: it does not answer in time yet" ;;
                *) note "$name: $detail" ;;
            esac
            eval "told_$index=\$detail"
        fi
    fi
    emit check "$name" "$kind" "$critical" "$passed" "$tries" "$took" "$detail" "$said" >>"$scratch/round"
}

try_all() {
    good=yes
    index=0
    young=
    : >"$scratch/round"
    tries=$((tries + 1))
    for definition in "$@"; do
        index=$((index + 1))
        split "$definition"
        [ "$hopeless" = no ] || break
    done
}

split() {
    set -f
    IFS=$us
    # shellcheck disable=SC2086
    set -- $1
    unset IFS
    set +f
    run_check "$@"
}

# port_asked KIND ADDRESS PORT: set asked to the port of this host that a check asks; to nothing if it asks another host.
port_asked() {
    place=$2
    asked=$3
    if [ "$1" = http ]; then
        case $place in https:*) asked=443 ;; *) asked=80 ;; esac
        place=${place#*://}
        place=${place%%[/?#]*}
        case $place in
            *'[::1]') ;;
            *:*) asked=${place##*:} place=${place%:*} ;;
        esac
    fi
    case $place in
        127.* | localhost | ::1 | '[::1]') ;;
        *) asked= ;;
    esac
    case $asked in *[!0-9]*) asked= ;; esac
}

# find_proven CHECK...: set proven to the services that are young and listen where critical checks ask. It looks at the sockets
# of their processes and not at the output of ss(8): that begins with the name that a program gives itself, and such a name may
# contain another program's number.
find_proven() {
    proven=/
    sockets=
    for definition in "$@"; do
        set -f
        IFS=$us
        # shellcheck disable=SC2086
        set -- $definition
        unset IFS
        set +f
        case $1/$3 in
            http/yes | tcp/yes) port_asked "$1" "$5" "$6" ;;
            *) continue ;;
        esac
        [ -n "$asked" ] || continue
        case $place in
            localhost) sockets="$sockets$(listeners 127.0.0.1 "$asked")$newline$(listeners ::1 "$asked")$newline" ;;
            *::1*) sockets=$sockets$(listeners ::1 "$asked")$newline ;;
            *) sockets=$sockets$(listeners "$place" "$asked")$newline ;;
        esac
    done
    while read -r _ unit; do
        [ -n "$unit" ] || continue
        while read -r _ inode; do
            if [ -z "$inode" ] || ! is_socket_of "$inode" "$unit"; then continue; fi
            proven=$proven$unit/
            break
        done <<END_OF_SOCKETS
$sockets
END_OF_SOCKETS
    done <<END_OF_YOUNG
$young
END_OF_YOUNG
}

# wait_for_young CHECK...: set rest to the milliseconds until every service that no check proves has been up for UNPROVEN.
wait_for_young() {
    rest=0
    [ -n "$young" ] || return 0
    [ -n "$proven" ] || find_proven "$@"
    while read -r up unit; do
        case $unit in '') continue ;; esac
        case $proven in *"/$unit/"*) continue ;; esac
        [ -n "$told" ] || note "$unit has to stay up for $((unproven / 1000)) s: no check asks it for anything"
        told=yes
        [ $((unproven - up)) -le "$rest" ] || rest=$((unproven - up))
    done <<END
$young
END
}

hopeless=no
tries=0
proven=
told=
now
start=$now
deadline=$((start + patience * 1000))
pause=100
steady=
while :; do
    try_all "$@"
    now
    at=$now
    if [ "$hopeless" = yes ] || [ "$once" = once ]; then break; fi
    if [ "$good" = yes ]; then
        steady=${steady:-$at}
        wait_for_young "$@"
        left=$((steady + stable - at))
        left=$((left > rest ? left : rest))
        [ "$left" -gt 0 ] || break
        watching=yes
        pause=$((left < 500 ? left + 1 : 500))
    else
        [ "$at" -lt "$deadline" ] || break
        [ -z "$steady" ] || pause=100
        steady=
        watching=
    fi
    sleep "$((pause / 1000)).$(printf '%03d' $((pause % 1000)))"
    pause=$((pause * 2 < interval ? pause * 2 : interval))
done
cat "$scratch/round"
emit verdict "$good" "$((at - start))"
