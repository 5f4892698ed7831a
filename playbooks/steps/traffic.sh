# shellcheck shell=sh disable=SC2034,SC2154
# traffic: arm this balancer's guard, or tell it other weights; then give servers their shares of the traffic.
# needs: kind state backend socket path health_host drain up_seconds slow_start user
# needs: id guard_seconds settle shares_bytes retreat_bytes rest_bytes undo_bytes
#
# Standard input: the shares, the failover weights, the final weights (see balancer.sh), and the guard's script
# (traffic_undo.sh), each of so many bytes. drain: seconds to wait for requests in flight. up_seconds: seconds to wait until
# enabled servers are up. slow_start: the balancer's slow start in seconds, to wait until they have their full share; 0 does
# not wait. settle: seconds from the failover weights to the final ones.

# include disk_space.sh
# include arm_guard.sh
# include mounts.sh
# include balancer.sh
# include set_traffic.sh

# receive_weights: write what arrives into the files shares, retreat and rest.
receive_weights() {
    shares=$work/shares
    retreat=$work/retreat
    rest=$work/rest
    head -c "$shares_bytes" >"$shares"
    head -c "$retreat_bytes" >"$retreat"
    head -c "$rest_bytes" >"$rest"
    [ "$(cat "$shares" "$retreat" "$rest" | wc -c)" -eq "$((shares_bytes + retreat_bytes + rest_bytes))" ] ||
        fail cut 'the weights of the servers did not arrive whole'
}

# arm_with_weights: arm the guard, or give the one that is armed the new weights.
arm_with_weights() {
    find_mounts "$state"
    arm_guard traffic "$state"
    for map in retreat rest; do
        cmp -s "$work/$map" "$guard/$map" || replace_file "$guard/$map" <"$work/$map"
    done
    # It may have fired between the two: then what it does counts.
    [ -e "$guard/armed" ] || fail fenced 'this task may not act here any more: the host went back by itself'
}

balancer
receive_weights
arm_with_weights
set_traffic "$shares" "$drain" "$up_seconds" "$slow_start"
emit moved "$changed"
