# shellcheck shell=sh disable=SC2154
# app_metrics: the application's own pages of metrics, as this host reaches them. Changes nothing.
# needs: seconds names
#
# Standard input: a server a line, NAME<TAB>URL. names is an extended regular expression: only lines about those metrics
# are sent back, for a page may have thousands of others.
# include at_most.sh
most_kb=8192

need curl
scratch=$(private_folder)
trap 'rm -rf "$scratch"' EXIT
page=$scratch/page
while IFS=$tab read -r server url; do
    : >"$page"
    # A URL may hold a secret, and everybody on the host can read a command line.
    printf 'url = "%s"\n' "$(printf '%s' "$url" | sed 's/[\\"]/\\&/g')" >"$scratch/request"
    if said=$(at_most "$most_kb" curl --disable --globoff --silent --show-error --fail --max-time "$seconds" --output "$page" \
        --config "$scratch/request" 2>&1); then
        emit server "$server" ''
        # Its last line may have no end, and what follows is the next server's.
        { cat "$page" && echo; } | sed -n -E "s/^(# TYPE )?($names)([{ ])/line$tab&/p"
    elif is_cut "$page" "$most_kb"; then
        emit server "$server" "its page is larger than $((most_kb / 1024)) MB, which is all that is read"
    else
        emit server "$server" "${said:-no answer}"
    fi
done
