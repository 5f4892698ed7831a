# shellcheck shell=sh disable=SC2154
# maintenance KIND STATE BACKEND SOCKET PATH HOST USER on|off: show clients the maintenance page, or the application again (G2).

# include balancer.sh

balancer "$1" "$2" "$3" "$4" "$5" "$6" "$7"
"${kind}_maintenance" "$8"
emit maintenance "$8" "$changed"
