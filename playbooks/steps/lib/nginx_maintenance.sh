# shellcheck shell=sh disable=SC2034,SC2154
# nginx_maintenance on|off: make or remove the file that nginx looks for at each request.
nginx_maintenance() {
    [ -d "$nginx_files" ] || fail unknown-server "$nginx_files is not there; run: invoke provision --env=…"
    if [ "$1" = on ] && [ ! -e "$nginx_files/$backend.maintenance" ]; then
        : >"$nginx_files/$backend.maintenance"
        changed=yes
    elif [ "$1" = off ] && [ -e "$nginx_files/$backend.maintenance" ]; then
        rm "$nginx_files/$backend.maintenance"
        changed=yes
    fi
    sync "$nginx_files"
}
