# shellcheck shell=sh disable=SC2154
# http_get SECONDS CA SERVED-BY: URLs as this host reaches them, one after another. Changes nothing.
#
# Standard input: lines "header TEXT" and "url TEXT". Either may hold a secret: curl reads them from a file that nobody
# else can read, not from its command line. CA is a file on this host, or "-". Where the server is on this host, nobody but root,
# prometheus and SERVED-BY is sent a header, or believed: while it is down its port is whose program takes it.
# include at_most.sh
# include listeners.sh
most_kb=8192
seconds=$1
ca=$2
servers=$(numbers_of prometheus "$3")

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
