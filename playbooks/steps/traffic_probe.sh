# shellcheck shell=sh disable=SC2154
# traffic_probe: ask servers from here as the balancer's health check does. Changes nothing.
# needs: kind state backend socket path health_host user
# words: {NAME ADDRESS PORT}...
#
# probe NAME STATUS TEXT: the answer's status, and its first line that is not empty; 0 and why, where there was no answer.

# include balancer.sh
# include at_most.sh

balancer
need curl
most_kb=64
while [ $# -ge 3 ]; do
    name=$1 address=$2 port=$3
    shift 3
    case $address in *:*) at="[$address]:$port" ;; *) at=$address:$port ;; esac
    rm -f "$work/body"
    status=$(at_most "$most_kb" curl --disable --globoff --noproxy '*' --silent --show-error --max-time 2 --output "$work/body" \
        --write-out '%{http_code}' --header "Host: $health_host" "http://$at$path" 2>"$work/said") || :
    case $status in
        '' | 000) emit probe "$name" 0 "$(sed 's/^curl: ([0-9]*) //; q' "$work/said")" ;;
        *) emit probe "$name" "$status" "$(head -c 4096 "$work/body" 2>/dev/null | tr -d '\000\r' | grep -m 1 '[^[:space:]]' | cut -c1-200)" ;;
    esac
done
