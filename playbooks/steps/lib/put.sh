# shellcheck shell=sh disable=SC2154
# Files and units of a balancer, each change of which is reported. Needs incoming (a private folder of this step).
# include output.sh

# put FILE PATH: replace PATH by FILE if they differ; false if they do not.
put() {
    ! cmp -s "$1" "$2" || return 1
    replace_file "$2" <"$1"
    chmod 0644 "$2"
    emit changed "wrote $2"
}

# why_not: print the lines of a log that name an error, or else its last ones.
why_not() {
    cat >"$incoming/log"
    grep -i 'emerg\|alert' "$incoming/log" || tail -n 12 "$incoming/log"
}

# start_unit UNIT
start_unit() {
    ! systemctl is-active --quiet "$1" || return 0
    systemctl enable --quiet --now "$1" 2>/dev/null ||
        fail_showing balancer "$1 does not start" "$(journalctl --unit="$1" --lines=30 --output=cat --no-pager | why_not)"
    emit changed "started $1"
}
