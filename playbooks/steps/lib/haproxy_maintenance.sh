# shellcheck shell=sh disable=SC2034,SC2154
# haproxy_maintenance on|off: in the file, and in what runs.
haproxy_maintenance() {
    map=$haproxy_files/maintenance.map
    [ -f "$map" ] || fail unknown-server "$map is not there; run: invoke provision --env=…"
    # What does not run is asked before the file is written: it would come up with what its owner was told had failed.
    haproxy_say "show map $map"
    runs=$(awk -v key="$backend" '$2 == key { print $3 }' "$work/heard")
    awk -v key="$backend" -v value="$1" '$1 != key { print } END { print key, value }' "$map" >"$work/map"
    if ! cmp -s "$work/map" "$map"; then
        replace_file "$map" <"$work/map"
        chmod 0644 "$map"
    fi
    [ "$runs" != "$1" ] || return 0
    if [ -n "$runs" ]; then word='set'; else word='add'; fi
    printf '%s\n' "$word map $map $backend $1" >"$work/commands"
    haproxy_do "$work/commands"
}
