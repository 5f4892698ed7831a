# shellcheck shell=sh disable=SC2154
# What HAProxy has counted; see traffic_counts.sh. Needs haproxy.sh.

# haproxy_counts CURSOR: emit what its statistics count since it began, and latencies since the cursor, from its ring.
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
    haproxy_tell_requests "$work/counted"
    haproxy_tell_latencies "$1" "$work/heard"
}

# haproxy_tell_requests STATISTICS: emit the counts. A 502 or 504 that HAProxy makes counts as the server's eresp, and not in
# its hrsp_5xx; a 503 that it makes because no server is up counts for the backend alone. "UP 1/2" is a server whose last check
# has failed.
haproxy_tell_requests() {
    awk -v main="$backend" -v test="$backend-testers" '
        function has(name) { return is[at[name]] }
        function answers() { return has("hrsp_2xx") + has("hrsp_3xx") + has("hrsp_4xx") + has("hrsp_5xx") + has("hrsp_other") }
        /^# pxname/ { split(substr($0, 3), names, ","); for (i in names) at[names[i]] = i; next }
        !("pxname" in at) { next }
        { split($0, is, ","); of = has("pxname"); name = has("svname") }
        (of != main && of != test) || name == "FRONTEND" { next }
        { queue += has("qcur") }
        name == "BACKEND" { whole += answers() + has("hrsp_1xx"); failed += has("hrsp_5xx"); next }
        { lost = has("eresp") + has("econ"); bad[name] += has("hrsp_5xx") + lost; all[name] += answers() + lost }
        of == main { print "checked\t" name "\t" has("chkfail") + 0 "\t" (has("status") ~ /^UP [0-9]/ ? "failing" : "-") }
        END {
            for (name in all) print "counter\t" name "\t" all[name] "\t" bad[name]
            print "whole\tepoch\t" whole + 0 "\t" failed + 0
            print "queue\t" queue + 0
        }' "$1"
}

# haproxy_tell_latencies CURSOR LINES: LINES are those of the ring: TIME CLIENT [DATE] FRONTEND BACKEND/SERVER TR/TW/TC/TR/TA
# STATUS and more. The cursor is the first two words.
haproxy_tell_latencies() {
    awk -v cursor="$1" -v main="$backend" -v test="$backend-testers" '
        { for (i = 1; i <= NF; i++) if ($i ~ /^[^\/]+\/[^\/]+$/ && $(i + 1) ~ /^-?[0-9]+(\/\+?-?[0-9]+)+$/) break }
        i > NF { next }
        { key = substr($1, 1, 60) " " substr($(i - 3), 1, 60); last = key }
        key == cursor { split("", count); next }
        { split($i, is, "/"); of = is[1]; name = is[2] }
        (of != main && of != test) || name ~ /^</ { next }
        {
            split($(i + 1), times, "/"); request = times[1]; queued = times[2]; connect = times[3]; answer = times[4]; total = times[5]
            ms = answer >= 0 ? queued + connect + answer : total - (request > 0 ? request : 0)
            bucket = ms > 1 ? int(log(ms) / log(1.1) + 0.999999) : 0
            count[name "\t" bucket]++
        }
        END {
            if (cursor != "-") for (which in count) print "latency\t" which "\t" count[which]
            print "cursor\t" (last == "" ? "0" : last)
        }' "$2"
}
