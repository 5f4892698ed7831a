# shellcheck shell=sh disable=SC2154
# include fetch_errors.sh
# include at_most.sh

# fetch_artifact PLACE SHA256 FILE FOLDER: fetch what standard input asks for (see fetch.py) to FILE, complete and with this
# checksum. PLACE is the URL as people may see it. The URL itself and the headers may be secret, so they stay in the shell's
# memory and reach curl on its standard input.
#
# What was fetched is kept in FOLDER under the checksum's name, for the next try or the next deploy; finish.sh removes it after
# a successful deploy. The checksum also judges a file that was put together in several tries.
fetch_artifact() {
    fetch_place=$1
    fetch_sha256=$2
    fetch_file=$3
    fetch_folder=$4
    fetch_part=$fetch_folder/$fetch_sha256
    read_order
    need curl
    mkdir -p "$fetch_folder" || explain_space 'making folders' unwritable "cannot write to $fetch_folder"
    is_whole || fetch_patiently
    # Keep at most one complete artifact of failed deploys.
    find "$fetch_folder" -type f ! -name "$fetch_sha256*" -delete
    # Give the file two names, if the file system can, so that it need not be fetched again if the deploy fails.
    ln "$fetch_part" "$fetch_file" 2>/dev/null || mv "$fetch_part" "$fetch_file" ||
        explain_space 'keeping the artifact' unwritable "cannot write to $fetch_folder"
}

# fetch_patiently: try until the artifact is complete, or nothing arrives any more.
fetch_patiently() {
    fetch_until=$(($(uptime_seconds) + fetch_seconds))
    fetch_most=$(fetched)
    fetch_left=$fetch_tries
    fetch_pause=1
    fetch_anew=
    fetch_code=fetch
    note "fetching $fetch_place; $fetch_most bytes of it are here already"
    while ! fetch_whole; do
        if [ "$(fetched)" -gt "$fetch_most" ]; then
            fetch_most=$(fetched)
            fetch_left=$fetch_tries
            fetch_pause=1
        fi
        [ "$fetch_left" -gt 0 ] || fetch_fails
        fetch_left=$((fetch_left - 1))
        if [ $(($(uptime_seconds) + fetch_pause)) -ge "$fetch_until" ]; then
            fetch_why="$fetch_why; slipway_pull.timeout is over"
            fetch_fails
        fi
        note "$fetch_why; trying again in $fetch_pause s"
        sleep "$fetch_pause"
        fetch_pause=$((fetch_pause < 16 ? fetch_pause * 2 : 30))
    done
}

# is_whole: whether an earlier deploy fetched all of it. Then the server is not asked, and need not exist.
is_whole() {
    [ -s "$fetch_part" ] && [ -s "$fetch_part.of" ] || return 1
    read -r fetch_total _ <"$fetch_part.of" || return 1
    [ "$(fetched)" = "$fetch_total" ] || return 1
    echo "$fetch_sha256  $fetch_part" | sha256sum --check --status
}

read_order() {
    fetch_url=
    fetch_headers=
    while :; do
        IFS= read -r fetch_line || fail cut 'what to fetch did not arrive whole'
        fetch_value=${fetch_line#* }
        case $fetch_line in
            end) break ;;
            'patience '*)
                fetch_tries=${fetch_value% *}
                fetch_seconds=${fetch_value#* }
                ;;
            'url '*) fetch_url=$fetch_value ;;
            'header '*) fetch_headers=$fetch_headers$fetch_value$newline ;;
        esac
    done
}

uptime_seconds() {
    IFS='. ' read -r fetch_up _ </proc/uptime
    echo "$fetch_up"
}
fetched() { if [ -s "$fetch_part" ]; then stat -c %s "$fetch_part"; else echo 0; fi; }
# answered FILE NAME: print a header of the answer.
answered() { tr -d '\r' <"$1" | awk -v n="$2:" 'tolower($1) == n { sub(/^[^:]*: */, ""); found = $0 } END { print found }'; }

# curl_fetch OPTION...: request fetch_at with the headers in fetch_sends. Print what --write-out says; errors go to
# $fetch_file.err.
curl_fetch() {
    fetch_rest=$((fetch_until - $(uptime_seconds)))
    [ "$fetch_rest" -gt 0 ] || fetch_rest=1
    # printf is built into the shell, so no process has these in its command line.
    {
        printf '%s\n' "$fetch_at" | sed 's/[\\"]/\\&/g; s/.*/url = "&"/'
        [ -z "$fetch_sends" ] || printf '%s' "$fetch_sends" | sed 's/[\\"]/\\&/g; s/.*/header = "&"/'
    } | curl --config - --globoff --silent --show-error --proto '=http,https' --connect-timeout 10 \
        --speed-limit 1 --speed-time 30 --max-time "$fetch_rest" "$@" 2>"$fetch_file.err"
}

# server URL: set fetch_server to the scheme, host and port.
server() {
    fetch_server=${1#*://}
    fetch_server=${1%%://*}://${fetch_server%%[/?#]*}
}

# find_it: find out where the artifact is, how large it is and which version it is, by a request for its first byte. This
# function and not curl follows redirects, because headers may be meant for the first server only. Sets fetch_at, fetch_sends,
# fetch_total, fetch_tag, fetch_ranges.
find_it() {
    fetch_at=$fetch_url
    fetch_sends=$fetch_headers
    fetch_hops=0
    while :; do
        fetch_rc=0
        # curl before 8.4 limits only an answer that announces its size.
        fetch_said=$(limit_files 256 && curl_fetch --range 0-0 --max-filesize 65536 --output "$fetch_file.answer" \
            --dump-header "$fetch_file.head" --write-out '%{http_code} %{redirect_url}') || fetch_rc=$?
        ! is_cut "$fetch_file.head" 256 || fetch_fails fetch 'the headers of its answer are larger than 256 kB'
        ! is_cut "$fetch_file.answer" 256 || fetch_rc=63
        fetch_http=${fetch_said%% *}
        # 63: the server would send all of it and not only the first byte, so nothing was read.
        if [ "$fetch_rc" -ne 0 ] && [ "$fetch_rc" -ne 63 ]; then
            explain_curl "$fetch_rc"
            return 1
        fi
        case $fetch_http in 301 | 302 | 303 | 307 | 308) ;; *) break ;; esac
        follow "${fetch_said#* }"
    done
    fetch_tag=$(answered "$fetch_file.head" etag)
    # A weak tag (RFC 9110, 8.8.1) promises nothing about bytes.
    case $fetch_tag in '"'*) ;; *) fetch_tag= ;; esac
    fetch_ranges=
    case $fetch_http in
        206)
            fetch_ranges=yes
            fetch_total=$(answered "$fetch_file.head" content-range)
            fetch_total=${fetch_total##*/}
            ;;
        200) fetch_total=$(answered "$fetch_file.head" content-length) ;;
        *)
            explain_http "$fetch_http"
            return 1
            ;;
    esac
    case $fetch_total in
        0) fetch_fails fetch-gone 'there is nothing in it' ;;
        '' | 0* | *[!0-9]* | ????????????????*) fetch_total= ;;
    esac
}

follow() {
    fetch_hops=$((fetch_hops + 1))
    [ "$fetch_hops" -le 5 ] || fetch_fails fetch "it redirects more than 5 times"
    case $1 in http://* | https://*) ;; *) fetch_fails fetch "it redirects to something else than http or https" ;; esac
    server "$fetch_at"
    fetch_from=$fetch_server
    server "$1"
    [ "$fetch_from" = "$fetch_server" ] || fetch_sends=
    fetch_at=$1
}

# keep_or_drop: keep the bytes that are here only if they are the beginning of what the server has now.
keep_or_drop() {
    fetch_have=$(fetched)
    fetch_mixed=
    [ "$fetch_have" -gt 0 ] || return 0
    fetch_mixed=yes
    fetch_was=
    [ ! -f "$fetch_part.of" ] || IFS= read -r fetch_was <"$fetch_part.of" || :
    if [ -z "$fetch_ranges" ]; then
        note 'the server cannot go on in the middle; fetching from the beginning'
    elif [ "$fetch_was" != "$fetch_total $fetch_tag" ]; then
        note 'the artifact changed on the server since; fetching from the beginning'
    elif [ -n "$fetch_total" ] && [ "$fetch_have" -gt "$fetch_total" ]; then
        note 'more is here than the artifact has; fetching from the beginning'
    else
        return 0
    fi
    drop_part
}
drop_part() {
    rm -f "$fetch_part" "$fetch_part.of"
    fetch_have=0
    fetch_mixed=
}

ask_room() {
    [ -n "$fetch_total" ] || return 0
    fetch_kb=$(((fetch_total - fetch_have) / 1024))
    fetch_free=$(df -Pk "$fetch_folder" | awk 'NR == 2 { print $4 }')
    [ "$fetch_free" -le $((fetch_kb + 1024)) ] || return 0
    # Remove parts of other artifacts, which are worth less than this one.
    find "$fetch_folder" -type f ! -name "$fetch_sha256*" -delete
    fetch_free=$(df -Pk "$fetch_folder" | awk 'NR == 2 { print $4 }')
    [ "$fetch_free" -gt $((fetch_kb + 1024)) ] ||
        fetch_fails no-space "${fetch_folder%/*} has room for $fetch_free kB, what is left to fetch takes $fetch_kb kB"
}

# fetch_whole: make one try. Return 1 if another may succeed, and end the step if none will.
fetch_whole() {
    find_it || return 1
    keep_or_drop
    ask_room
    if [ -z "$fetch_total" ] || [ "$fetch_have" -lt "$fetch_total" ]; then fetch_rest_of_it || return 1; fi
    fetch_sum=$(sha256sum <"$fetch_part") || explain_space 'checking the artifact' fetch "cannot read what was fetched"
    fetch_sum=${fetch_sum%% *}
    [ "$fetch_sum" != "$fetch_sha256" ] || return 0
    fetch_pieces=$fetch_mixed
    drop_part
    fetch_why="the artifact that arrived is not the one that was asked for: its SHA-256 is $fetch_sum, expected $fetch_sha256"
    # A file from several tries may mix two objects. A file from one try is what the server has.
    if [ -z "$fetch_pieces" ] || [ -n "$fetch_anew" ]; then fetch_fails checksum "$fetch_why"; fi
    note "$fetch_why; fetching from the beginning"
    fetch_anew=yes
    fetch_most=0
    fetch_whole
}

fetch_rest_of_it() {
    set -- --fail --output "$fetch_part"
    fetch_plain=$fetch_sends
    if [ "$fetch_have" -gt 0 ]; then
        set -- "$@" --continue-at "$fetch_have"
        [ -z "$fetch_tag" ] || fetch_sends="${fetch_sends}If-Range: $fetch_tag$newline"
    else
        { printf '%s %s\n' "$fetch_total" "$fetch_tag" >"$fetch_part.of" && : >"$fetch_part"; } 2>/dev/null ||
            explain_space 'fetching the artifact' unwritable "cannot write to $fetch_folder"
    fi
    # If the size is unknown, fetch at most half of the free space, because the artifact will be unpacked, too.
    if [ -n "$fetch_total" ]; then
        fetch_limit=$((fetch_total / 1024 + 1))
    else
        fetch_limit=$(df -Pk "$fetch_folder" | awk 'NR == 2 { print int($4 / 2) }')
    fi
    fetch_rc=0
    fetch_http=$(limit_files "$fetch_limit" && curl_fetch "$@" --write-out '%{http_code}') || fetch_rc=$?
    fetch_sends=$fetch_plain
    if [ "$fetch_rc" -eq 23 ] && is_cut "$fetch_part" "$fetch_limit"; then
        drop_part
        [ -n "$fetch_total" ] || fetch_fails no-space "the artifact is larger than $fetch_limit kB, which is half of what ${fetch_folder%/*} has room for"
        fetch_why="the server sends more than the $fetch_total bytes that it announced"
        return 1
    fi
    case $fetch_rc:$fetch_http in
        0:200 | 0:206)
            [ -n "$fetch_total" ] && [ "$(fetched)" -ne "$fetch_total" ] || return 0
            fetch_why="the connection broke after $(fetched) of $fetch_total bytes"
            return 1
            ;;
        33:* | 0:*)
            # The answer is not a range any more, or not the artifact at all, so it is not a part of the artifact.
            drop_part
            fetch_why="the server answered something else than before (HTTP $fetch_http)"
            return 1
            ;;
        22:*) explain_http "$fetch_http" ;;
        *) explain_curl "$fetch_rc" ;;
    esac
    return 1
}

# fetch_fails [CODE SENTENCE]: end the step. What was fetched stays for the next deploy.
fetch_fails() {
    [ $# -eq 0 ] || { fetch_code=$1 && fetch_why=$2; }
    [ "$(fetched)" -gt 0 ] || rm -f "$fetch_part" "$fetch_part.of"
    rmdir "$fetch_folder" 2>/dev/null || :
    case $fetch_code in
        checksum | no-space) ;;
        *) fetch_why="cannot fetch $fetch_place: $fetch_why" ;;
    esac
    [ "$(fetched)" -eq 0 ] || fetch_why="$fetch_why ($(fetched) bytes of it are kept for the next deploy)"
    fail "$fetch_code" "$fetch_why"
}
