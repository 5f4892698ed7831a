# shellcheck shell=sh disable=SC2154
# http_get: ask for URLs from this host, one after another. Changes nothing.
# needs: seconds ca served_by
#
# Standard input: lines "header TEXT" and "url TEXT". Either may hold a secret, so curl reads them from a file that only root
# can read. ca is a file on this host, or "-". If the server is on this host, its program must run as root, as prometheus or
# as served_by; else it is asked nothing. While the server is down, any program may take its port.
# include at_most.sh
# include listeners.sh
most_kb=8192
servers=$(numbers_of prometheus "$served_by")

need curl
scratch=$(private_folder)
trap 'rm -rf "$scratch"' EXIT
: >"$scratch/headers"
[ "$ca" = - ] || printf 'cacert = "%s"\n' "$(printf '%s' "$ca" | sed 's/[\\"]/\\&/g')" >"$scratch/headers"
while IFS= read -r line; do
    value=${line#* }
    case $line in
        'header '*) printf '%s\n' "$value" | sed 's/[\\"]/\\&/g; s/.*/header = "&"/' >>"$scratch/headers" ;;
        'url '*)
            split_url "$value"
            if ! may_tell "$url_host" "$url_port" "$servers"; then
                why='nobody listens there'
                [ -z "$stranger" ] ||
                    why="at port $url_port listens a program of $stranger; if that is the server, say so: served_by: $stranger in slipway_metrics.prometheus"
                emit reply 0 "$why"
                continue
            fi
            { cat "$scratch/headers" && printf 'url = "%s"\n' "$(printf '%s' "$value" | sed 's/[\\"]/\\&/g')"; } >"$scratch/request"
            if status=$(at_most "$most_kb" curl --disable --globoff --silent --show-error --max-time "$seconds" \
                --config "$scratch/request" --output "$scratch/body" --write-out '%{http_code}' 2>"$scratch/err"); then
                emit reply "$status" "$(cat "$scratch/body")"
            elif is_cut "$scratch/body" "$most_kb"; then
                emit reply 0 "its answer is larger than $((most_kb / 1024)) MB, which is all that is read"
            else
                emit reply 0 "$(sed 's/^curl: ([0-9]*) //' "$scratch/err")"
            fi
            rm -f "$scratch/body"
            ;;
    esac
done
