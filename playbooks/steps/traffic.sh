# shellcheck shell=sh disable=SC2034,SC2154
# traffic KIND STATE BACKEND SOCKET PATH HOST USER DRAIN UP SLOW-START ID GUARD-SECONDS SETTLE BYTES RETREAT-BYTES REST-BYTES UNDO-BYTES RECORD
#
# Arm this balancer's guard, or tell it other weights; then give servers their shares of the traffic. Standard input: the
# shares, the failover weights, the final weights (see balancer.sh), and the guard's script.

# include disk_space.sh
# include guard.sh
# include mounts.sh
# include balancer.sh

balancer "$1" "$2" "$3" "$4" "$5" "$6" "$7"
shift 7
drain=$1
up_seconds=$2
slow_start=$3
id=$4
guard_seconds=$5
settle=$6
shift 6
shares=$work/shares
retreat=$work/retreat
rest=$work/rest
head -c "$1" >"$shares"
head -c "$2" >"$retreat"
head -c "$3" >"$rest"
[ "$(cat "$shares" "$retreat" "$rest" | wc -c)" -eq "$(($1 + $2 + $3))" ] || fail cut 'the weights of the servers did not arrive whole'

find_mounts "$state"
arm_guard "$state" "$id" "$guard_seconds" traffic "$4" "$state" "$kind" "$backend" "$socket" "$path" "$health_host" \
    "$drain" "$up_seconds" "$settle" "$5"
for map in retreat rest; do
    cmp -s "$work/$map" "$guard/$map" || replace_file "$guard/$map" <"$work/$map"
done
# It may have fired between the two: then what it does counts.
[ -e "$guard/armed" ] || fail fenced 'this task may not act here any more: the host went back by itself'
set_traffic "$shares" "$drain" "$up_seconds" "$slow_start"
emit moved "$changed"
