# shellcheck shell=sh disable=SC2154
# traffic_counts: what the balancer counted of each server. Changes nothing.
# needs: kind state backend socket cursor user
#
# epoch WHICH; counter NAME REQUESTS ERRORS since the epoch began, or counted … since the cursor; latency NAME BUCKET COUNT
# since the cursor (a bucket's upper bound is 1.1 to that power, in milliseconds); cursor NEXT.
# whole epoch|cursor REQUESTS FAILED: of all that clients asked of the servers, whoever answered, since the one or the other.
# Where the balancer knows: queue REQUESTS that wait for a server now; checked NAME FAILED-CHECKS failing|-, since the epoch
# began, and now.

# include balancer.sh
# include haproxy_counts.sh
# include nginx_counts.sh

balancer
"${kind}_counts" "$cursor"
