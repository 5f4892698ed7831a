# shellcheck shell=sh disable=SC2034,SC2154
# Drive HAProxy by its admin socket. Needs backend, socket and work (a folder of this step). Changes survive a reload and a
# restart, because they are saved in a file that the configuration loads.
haproxy_saved=/var/lib/haproxy/slipway.state
haproxy_files=/etc/haproxy/slipway
# HAProxy's user owns the socket's folder and could replace the socket, so an answer is limited in bytes and in time.
# 10,000 servers take 8 MB.
haproxy_kb=32768
haproxy_seconds=20

# haproxy_ask COMMANDS (separated by ";"): the answer is in $work/heard; if there is none, the reason is in $work/said.
haproxy_ask() {
    haproxy_status=0
    printf '%s\n' "$1" | at_most "$haproxy_kb" timeout --kill-after=1 "$haproxy_seconds" socat -t 10 - "UNIX-CONNECT:$socket" \
        >"$work/heard" 2>"$work/said" || haproxy_status=$?
    ! is_cut "$work/heard" "$haproxy_kb" || haproxy_status='cut'
    [ "$haproxy_status" = 0 ]
}

# haproxy_say COMMANDS: the same, and fail without an answer.
haproxy_say() {
    haproxy_ask "$1" || case $haproxy_status in
        cut) fail balancer "HAProxy's answer at $socket is larger than $((haproxy_kb / 1024)) MB, which is all that is read; who listens there? ss -xlp" ;;
        124 | 137) fail balancer "HAProxy's answer at $socket has no end: it went on for $haproxy_seconds s; who listens there? ss -xlp" ;;
        *) fail balancer "HAProxy does not answer at $socket: $(sed 's/.*: //; q' "$work/said"); see why, on that host: systemctl status haproxy" ;;
    esac
    # HAProxy ends every answer with an empty line. If it hangs, it takes the question and sends nothing.
    [ -s "$work/heard" ] || fail balancer "HAProxy hangs: it has not answered at $socket within 10 s; restart it: systemctl restart haproxy"
}

# haproxy_do FILE: run commands that change something, one in each line. HAProxy answers a success with an empty line.
haproxy_do() {
    [ -s "$1" ] || return 0
    changed=yes
    # As many commands at a time as HAProxy's buffer holds.
    awk '{ if (length(all) + length($0) > 8000) { print all; all = "" } all = all (all == "" ? "" : "; ") $0 }
        END { print all }' "$1" >"$work/batches"
    while IFS= read -r batch; do
        haproxy_say "$batch"
        ! grep -q '[^[:space:]]' "$work/heard" || fail balancer "HAProxy refuses a change: $(tr -s '\n' ' ' <"$work/heard")"
    done <"$work/batches"
}

# haproxy_table: into $work/now a line a server: backend name address port up(0|1) admin(on|drain|off) weight in-flight
# checked(0|1)
haproxy_table() {
    haproxy_say 'show servers state; show stat'
    awk -v main="$backend" -v test="$backend-testers" '
        /^# pxname/ { split(substr($0, 3), names, ","); for (i in names) at[names[i]] = i; next }
        /^#/ || NF == 0 { next }
        !("pxname" in at) && NF > 18 && ($2 == main || $2 == test) {
            # Bits of srv_admin_state: 1 maintenance, 8 drained, both by command; the others are not ours.
            admin = $7 % 2 ? "off" : int($7 / 8) % 2 ? "drain" : "on"
            key = order[++n] = $2 "," $4
            line[key] = $2 " " $4 " " $5 " " $19 " " ($6 == 2 || $6 == 1) " " admin " " $8
            checked[key] = ($14 > 0)
        }
        ("pxname" in at) { split($0, part, ","); flight[part[at["pxname"]] "," part[at["svname"]]] = part[at["scur"]] }
        END { for (i = 1; i <= n; i++) print line[order[i]], flight[order[i]] + 0, checked[order[i]] }' "$work/heard" >"$work/now"
}

# haproxy_heard_pid: prints the number of the process that answered "show info".
haproxy_heard_pid() { awk '$1 == "Pid:" { print $2 }' "$work/heard"; }

# haproxy_has_former: whether a process runs that a reload has replaced.
haproxy_has_former() {
    master=$(systemctl show --property=MainPID --value haproxy)
    tr ' ' '\n' 2>/dev/null <"/proc/$master/task/$master/children" >"$work/children" || return 1
    grep -qvx -e "$pid" -e '' "$work/children"
}

# haproxy_old ADDRESS PORT: requests that a process goes on with which a reload has replaced. Nobody else counts them.
haproxy_old() {
    haproxy_has_former || { echo 0 && return; }
    grep -vx -e "$pid" -e '' "$work/children" >"$work/former"
    flights_of "$work/former" "$1" "$2"
}

# haproxy_plan SHARES: what is to be done, by comparing with $work/now: a word, then a command or a server's name.
haproxy_plan() {
    awk -v main="$backend" -v test="$backend-testers" '
        FILENAME == ARGV[1] { here[$1 "," $2] = $0; if ($1 == test) tests = 1; next }
        {
            if (!((main "," $1) in here)) { print "unknown", $1; next }
            split(here[main "," $1], is, " ")
            if (is[4] != $3 || ($2 ~ /^[0-9.]+$|:/ && is[3] != $2)) { print "elsewhere", $1, is[3] ":" is[4], $2 ":" $3; next }
            set = "set server " main "/" $1
            if ($5 == "on") {
                if (is[6] != "on") {
                    # HAProxy counts a re-enabled server as up until a check fails, so its weight is 0 until a check has passed.
                    print "on", set " weight 0"; print "on", set " state ready"; print "wait", $1
                    if (is[9]) print "on", set " health down"
                    if ($4 > 0) print "raise", set " weight " $4
                } else if ($4 + 0 > is[7] + 0) print "raise", set " weight " $4
                else if ($4 + 0 < is[7] + 0) print "lower", set " weight " $4
            } else if (is[6] != "off") {
                if (is[6] == "on") print "drain", set " state drain"
                print "empty", $1, is[3], $3
                print "off", set " state maint"
            }
            if (!tests || !((test "," $1) in here)) next
            split(here[test "," $1], is, " ")
            want = $5 == "on" && $6 == "tester" ? "on" : "off"
            if (want == is[6]) next
            print (want == "on" ? "raise" : $5 == "on" ? "lower" : "off"), "set server " test "/" $1 " state " (want == "on" ? "ready" : "maint")
        }' "$work/now" "$1"
}

# haproxy_apply SHARES DRAIN UP SLOW-START. Sets changed; emits cut and slow.
haproxy_apply() {
    haproxy_table
    haproxy_plan "$1" >"$work/plan"
    refuse_unknown "$work/plan"
    for word in on raise lower drain off; do sed -n "s/^$word //p" "$work/plan" >"$work/$word"; done
    sed -n 's/^wait //p' "$work/plan" | grep -vxFf "$work/idle" >"$work/wait" || :
    sed -n 's/^empty //p' "$work/plan" >"$work/empty"
    haproxy_do "$work/on"
    up_ticks=$(($3 * 10))
    haproxy_wait_up
    # At least one server must be up before others are disabled, unless none was up before.
    awk -v main="$backend" 'FILENAME == ARGV[1] { share[$1] = $5 == "on" ? $4 : 0; next }
        $1 == main {
            weight = $2 in share ? share[$2] : $6 == "on" ? $7 : 0
            if (weight > 0 && $5) n++
            if ($6 == "on" && $7 > 0 && $5) had++
        }
        END { exit !(n || !had) }' "$1" "$work/now" ||
        fail no-server 'none of the servers that should get traffic is up, so the others were not disabled'
    haproxy_do "$work/raise"
    haproxy_wait_warm "$4"
    haproxy_do "$work/lower"
    haproxy_do "$work/drain"
    haproxy_wait_former
    wait_empty "$2"
    haproxy_do "$work/off"
    # A check of what was waited for may have failed since.
    if [ -s "$work/wait" ] || [ -s "$work/restarted" ]; then haproxy_wait_up; fi
    awk -v main="$backend" 'FILENAME == ARGV[1] { on[$1] = $5 == "on"; next } $1 == main && on[$2] && !$5 { print $2 }' \
        "$1" "$work/now" >"$work/slow"
    while read -r name; do emit slow "$name"; done <"$work/slow"
    haproxy_save
}

# haproxy_wait_up: wait until servers that were enabled, or whose release restarted, pass their health check; at most for
# the rest of up_ticks (0.1 s each).
haproxy_wait_up() {
    haproxy_table
    while awk -v main="$backend" 'FILENAME != ARGV[3] { want[$1]; next } $1 == main && $2 in want && !$5 { n++ } END { exit !n }' \
        "$work/wait" "$work/restarted" "$work/now" && [ "$up_ticks" -gt 0 ]; do
        sleep 0.1
        up_ticks=$((up_ticks - 1))
        haproxy_table
    done
}

# haproxy_wait_warm SECONDS: wait until HAProxy has raised the enabled servers to their full weight (slowstart). The other
# servers keep their traffic until then; else the enabled ones would get all of it at once.
haproxy_wait_warm() {
    if [ "$1" -eq 0 ] || [ ! -s "$work/wait" ]; then return 0; fi
    ticks=$((($1 + 2) * 5))
    note "waiting until slow_start has raised $(tr '\n' ' ' <"$work/wait")to full weight"
    while haproxy_say 'show stat' && awk -F , -v main="$backend" 'FILENAME == ARGV[1] { wait[$1]; next }
        /^# pxname/ { sub(/^# /, ""); for (i = 1; i <= NF; i++) at[$i] = i; next }
        $1 == main && $2 in wait && $(at["throttle"]) != "" && $(at["throttle"]) < 100 { n++ } END { exit !n }' \
        "$work/wait" "$work/heard" && [ "$ticks" -gt 0 ]; do
        sleep 0.2
        ticks=$((ticks - 1))
    done
}

# haproxy_wait_former: wait until the processes that a reload has replaced take no more requests. For close-spread-time they
# still do, on open connections, and do not know what we set.
haproxy_wait_former() {
    [ -s "$work/empty" ] || return 0
    haproxy_say 'show info'
    pid=$(haproxy_heard_pid)
    former=120
    while [ "$former" -gt 0 ] && haproxy_has_former; do
        sleep 0.1
        former=$((former - 1))
    done
}

# haproxy_flight NAME ADDRESS PORT: sets flight, the requests in flight to a server. After haproxy_wait_former.
haproxy_flight() {
    haproxy_table
    flight=$(awk -v name="$1" '$2 == name { n += $8 } END { print n + 0 }' "$work/now")
    flight=$((flight + $(haproxy_old "$2" "$3")))
}

# haproxy_save: save the weights, and which servers are disabled. Whether a server is up is left out: health checks find that
# out again after a restart.
haproxy_save() {
    {
        hold_balancer 8 state
        haproxy_say 'show servers state'
        awk 'NF > 18 && !/^#/ { $6 = 2; $10 = 0 } NF { print }' "$work/heard" >"$work/saved"
        grep -q '^# be_id' "$work/saved" || fail balancer 'HAProxy does not tell the state of its servers'
        haproxy_keep "$work/saved"
    } 8>>"$(balancer_lock state)"
}

# haproxy_keep FILE: write the state file. On RHEL its folder is HAProxy's user's, who may replace the file by a link or a FIFO
# at any time. So write it in root's folder and rename it.
haproxy_keep() {
    ! timeout 5 cmp -s "$1" "$haproxy_saved" || return 0
    mkdir -p "$state"
    cp "$1" "$state/haproxy.saved"
    sync "$state/haproxy.saved"
    mv -fT "$state/haproxy.saved" "$haproxy_saved"
}

# haproxy_state: how it stands; into $work/state a line a server: name address port weight on|drain|off tester|-
# up|down|- in-flight
haproxy_state() {
    haproxy_say 'show info'
    emit version "HAProxy $(sed -n 's/^Version: *//p' "$work/heard")"
    haproxy_say "show map $haproxy_files/maintenance.map"
    emit maintenance "$(awk -v key="$backend" '$2 == key && $3 == "on" { on = 1 } END { print on ? "on" : "off" }' "$work/heard")"
    haproxy_table
    awk -v main="$backend" '
        { seen[$1 == main, $2] = $6; flight[$2] += $8; if ($1 != main) tests = 1 }
        $1 == main { line[++n] = $0 }
        END { for (i = 1; i <= n; i++) {
            split(line[i], is, " ")
            tester = (!tests || seen[0, is[2]] == "on") && is[6] == "on" ? "tester" : "-"
            up = is[6] == "off" ? "-" : is[5] ? "up" : "down"
            print is[2], is[3], is[4], is[7], is[6], tester, up, flight[is[2]]
        } }' "$work/now" >"$work/state"
}

# haproxy_maintenance on|off: in the file, and in what runs.
haproxy_maintenance() {
    map=$haproxy_files/maintenance.map
    [ -f "$map" ] || fail unknown-server "$map is not there; run: invoke provision --env=…"
    # What does not run is asked before the file is written: it would come up with what its owner was told had failed.
    haproxy_say "show map $map"
    runs=$(awk -v key="$backend" '$2 == key { print $3 }' "$work/heard")
    awk -v key="$backend" -v value="$1" '$1 != key { print } END { print key, value }' "$map" >"$work/map"
    if ! cmp -s "$work/map" "$map"; then
        replace_file "$map" <"$work/map"
        chmod 0644 "$map"
    fi
    [ "$runs" != "$1" ] || return 0
    if [ -n "$runs" ]; then word='set'; else word='add'; fi
    printf '%s\n' "$word map $map $backend $1" >"$work/commands"
    haproxy_do "$work/commands"
}

# haproxy_counts CURSOR: emits what its statistics count since it began, and latencies since the cursor, from its ring.
haproxy_counts() {
    # Both answers of one process: while HAProxy reloads, the old one may give the first and the new one the second.
    for _ in 1 2 3; do
        haproxy_say 'show info; show stat'
        counted_pid=$(haproxy_heard_pid)
        mv "$work/heard" "$work/counted"
        haproxy_say 'show info; show events slipway'
        [ "$(haproxy_heard_pid)" != "$counted_pid" ] || break
    done
    emit epoch "$(awk '$1 == "Pid:" || $1 == "Start_time_sec:" { printf "%s ", $2 }' "$work/counted")"
    # A 502 or 504 that HAProxy makes counts as the server's eresp, and not in its hrsp_5xx; a 503 that it makes since nobody
    # is up counts for the backend alone. "UP 1/2" is a server whose last check has failed.
    awk -v main="$backend" -v test="$backend-testers" '
        function answers() { return is[at["hrsp_2xx"]] + is[at["hrsp_3xx"]] + is[at["hrsp_4xx"]] + is[at["hrsp_5xx"]] + is[at["hrsp_other"]] }
        /^# pxname/ { split(substr($0, 3), names, ","); for (i in names) at[names[i]] = i; next }
        !("pxname" in at) { next }
        { split($0, is, ","); name = is[at["svname"]] }
        (is[at["pxname"]] != main && is[at["pxname"]] != test) || name == "FRONTEND" { next }
        name == "BACKEND" { whole += answers() + is[at["hrsp_1xx"]]; failed += is[at["hrsp_5xx"]]; queue += is[at["qcur"]]; next }
        { lost = is[at["eresp"]] + is[at["econ"]]; bad[name] += is[at["hrsp_5xx"]] + lost; all[name] += answers() + lost
          queue += is[at["qcur"]] }
        is[at["pxname"]] == main { print "checked\t" name "\t" is[at["chkfail"]] + 0 "\t" (is[at["status"]] ~ /^UP [0-9]/ ? "failing" : "-") }
        END { for (name in all) print "counter\t" name "\t" all[name] "\t" bad[name]
          print "whole\tepoch\t" whole + 0 "\t" failed + 0; print "queue\t" queue + 0 }' "$work/counted"
    # A line: TIME CLIENT [DATE] FRONTEND BACKEND/SERVER TR/TW/TC/TR/TA STATUS ...; the cursor is the first two words.
    awk -v cursor="$1" -v main="$backend" -v test="$backend-testers" '
        { for (i = 1; i <= NF; i++) if ($i ~ /^[^\/]+\/[^\/]+$/ && $(i + 1) ~ /^-?[0-9]+(\/\+?-?[0-9]+)+$/) break }
        i > NF { next }
        { key = substr($1, 1, 60) " " substr($(i - 3), 1, 60); last = key; if (key == cursor) { split("", n); next } }
        { split($i, is, "/"); if ((is[1] != main && is[1] != test) || is[2] ~ /^</) next
          split($(i + 1), t, "/"); ms = t[4] >= 0 ? t[2] + t[3] + t[4] : t[5] - (t[1] > 0 ? t[1] : 0)
          b = ms > 1 ? int(log(ms) / log(1.1) + 0.999999) : 0; n[is[2] "\t" b]++ }
        END { if (cursor != "-") for (k in n) print "latency\t" k "\t" n[k]; print "cursor\t" (last == "" ? "0" : last) }' "$work/heard"
}
