# shellcheck shell=sh disable=SC2034,SC2154
# How nginx stands. Needs nginx.sh.
# include nginx_answers.sh

# nginx_state: see balancer.sh.
nginx_state() {
    emit version "$(nginx -v 2>&1 | sed 's/.*: //')"
    if [ -e "$nginx_files/$backend.maintenance" ]; then emit maintenance on; else emit maintenance off; fi
    nginx_shares
    # Ask side by side: if all servers hang, asking one after another would take longer than this step may.
    asked=0
    while read -r name address port _ admin _; do
        [ "$admin" = on ] || continue
        { ! nginx_answers "$address" "$port" || : >"$work/up-$name"; } &
        asked=$((asked + 1))
        [ $((asked % 16)) -ne 0 ] || wait
    done <"$work/now"
    wait
    while read -r name address port weight admin tester; do
        up=-
        [ "$admin" != on ] || if [ -e "$work/up-$name" ]; then up=up; else up=down; fi
        nginx_flight "$name" "$address" "$port"
        echo "$name $address $port $weight $admin $tester $up $flight"
    done <"$work/now" >"$work/state"
    nginx_render "$work/now" | cmp -s - "$nginx_files/$backend.conf" || emit edited "$nginx_files/$backend.conf"
}
