# shellcheck shell=sh disable=SC2154
# maintenance: show clients the maintenance page (page "on"), or the application again ("off") (G2).
# needs: kind state backend socket page user

# include balancer.sh
# include haproxy_maintenance.sh
# include nginx_maintenance.sh

balancer
"${kind}_maintenance" "$page"
emit maintenance "$page" "$changed"
