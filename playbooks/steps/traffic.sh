# shellcheck shell=sh disable=SC2034,SC2154
# traffic KIND STATE BACKEND SOCKET PATH HOST DRAIN UP ID GUARD-SECONDS SETTLE BYTES RETREAT-BYTES REST-BYTES UNDO-BYTES RECORD
#
# Arm this edge's guard, or tell it another way back; then give servers their shares of the traffic. Standard input: the
# shares, those of the retreat, those it rests at in the end (see balancer.sh), and the guard's script.

# include room.sh
# include guard.sh
# include balancer.sh

balancer "$1" "$2" "$3" "$4" "$5" "$6"
shift 6
drain=$1
up_seconds=$2
id=$3
guard_seconds=$4
settle=$5
shares=$work/shares
retreat=$work/retreat
rest=$work/rest
head -c "$6" >"$shares"
head -c "$7" >"$retreat"
head -c "$8" >"$rest"
[ "$(cat "$shares" "$retreat" "$rest" | wc -c)" -eq "$(($6 + $7 + $8))" ] || fail cut 'the shares did not arrive whole'

arm_guard "$state" "$id" "$guard_seconds" traffic "$9" "$state" "$kind" "$backend" "$socket" "$path" "$health_host" \
    "$drain" "$up_seconds" "$settle" "${10}"
for map in retreat rest; do
    cmp -s "$work/$map" "$guard/$map" || replace_file "$guard/$map" <"$work/$map"
done
# It may have fired between the two: then what it does counts.
[ -e "$guard/armed" ] || fail fenced 'this task may not act here any more: the host went back by itself'
set_traffic "$shares" "$drain" "$up_seconds"
emit moved "$changed"
