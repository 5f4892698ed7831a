# shellcheck shell=sh disable=SC2154
# app_metrics SECONDS NAMES: the application's own pages of metrics, as this host reaches them. Changes nothing.
#
# Standard input: a server a line, NAME<TAB>URL. NAMES is an extended regular expression: only lines about those metrics
# are sent back, for a page may have thousands of others.
seconds=$1
names=$2

need curl
page=$(mktemp)
trap 'rm -f "$page"' EXIT
while IFS=$tab read -r server url; do
    if said=$(curl --globoff --silent --show-error --fail --max-time "$seconds" --max-filesize 33554432 --output "$page" \
        -- "$url" 2>&1); then
        emit server "$server" ''
        sed -n -E "s/^(# TYPE )?($names)([{ ])/line$tab&/p" "$page"
    else
        emit server "$server" "${said:-no answer}"
    fi
done
