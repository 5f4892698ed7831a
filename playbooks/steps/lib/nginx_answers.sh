# shellcheck shell=sh disable=SC2154
# nginx_answers ADDRESS PORT: whether a server is healthy. nginx itself never asks.
nginx_answers() {
    case $1 in *:*) at="[$1]:$2" ;; *) at=$1:$2 ;; esac
    [ "$(curl --disable --silent --output /dev/null --max-time 2 --write-out '%{http_code}' --header "Host: $health_host" "http://$at$path")" = 200 ]
}
