# shellcheck shell=sh disable=SC2034,SC2154
# What nginx has counted, in its log; see traffic_counts.sh. Needs nginx.sh.
nginx_log=/var/log/nginx/slipway
# At most this many bytes of the log are read at once: ten million requests. nginx's workers could make the log, and a line,
# endless.
nginx_most=1000000000

# nginx_counts CURSOR: count the requests in the log since CURSOR (INODE:OFFSET). Each try at a server counts for that server.
nginx_counts() {
    log=$nginx_log-$backend.log
    [ -f "$log" ] || fail balancer "$log is not there; run: invoke provision --env=…"
    inode=$(stat -c %i "$log")
    from=${1#*:}
    # A rotated log is read to its end.
    aside=
    if [ "$1" != - ] && [ "${1%:*}" != "$inode" ]; then
        aside=$from
        from=0
    fi
    size=$(stat -c %s "$log")
    [ "$1" = - ] || [ "$from" -le "$size" ] || from=0
    [ "$1" != - ] || from=$size
    nginx_shares
    # A line is STATUS|ADDRESS, ADDRESS|STATUS, STATUS|SECONDS, SECONDS
    {
        [ -z "$aside" ] || find "${log%/*}" -maxdepth 1 -inum "${1%:*}" -name "${log##*/}*" ! -name '*.gz' -exec tail -c "+$((aside + 1))" {} \;
        tail -c "+$((from + 1))" "$log" | head -c "$((size - from))"
    } | head -c "$nginx_most" | fold -b -w 8192 | awk -F '|' '
        FILENAME == ARGV[1] {
            split($0, server, " "); server_name = server[1]; address = server[2]; port = server[3]
            name[(address ~ /:/ ? "[" address "]" : address) ":" port] = server_name
            next
        }
        { status = $1; addresses = $2; tries = split(addresses, at, /, | : /); split($3, said, /, | : /); split($4, seconds, /, | : /) }
        # A request that no server got (for the maintenance page) says nothing about the servers.
        addresses != "" && addresses != "-" { whole++; if (status >= 500) failed++ }
        {
            for (i = 1; i <= tries; i++) {
                if (!(at[i] in name) || said[i] !~ /^[0-9]+$/) continue
                who = name[at[i]]
                all[who]++
                if (said[i] >= 500) bad[who]++
                if (seconds[i] !~ /^[0-9.]+$/) continue
                ms = seconds[i] * 1000
                bucket = ms > 1 ? int(log(ms) / log(1.1) + 0.999999) : 0
                count[who "\t" bucket]++
            }
        }
        END {
            print "whole\tcursor\t" whole + 0 "\t" failed + 0
            for (who in all) print "counted\t" who "\t" all[who] "\t" bad[who] + 0
            for (which in count) print "latency\t" which "\t" count[which]
        }' "$work/now" -
    emit epoch -
    emit cursor "$inode:$size"
}
