# shellcheck shell=sh disable=SC2034,SC2154
# HAProxy's admin socket: ask it, change something, and save what was changed in a file that the configuration loads, so that it
# survives a reload and a restart. Needs backend, socket and work (a folder of this step).
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

# haproxy_heard_pid: prints the number of the process that answered "show info".
haproxy_heard_pid() { awk '$1 == "Pid:" { print $2 }' "$work/heard"; }

# haproxy_save: save the weights, and which servers are disabled. Whether a server is up is left out: health checks find that
# out again after a restart.
haproxy_save() {
    {
        hold_balancer 8 state
        haproxy_say 'show servers state'
        # Column 6 is whether the server is up, column 10 the seconds since that changed.
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
