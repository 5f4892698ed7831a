# shellcheck shell=sh disable=SC2154
# http_get SECONDS CA: URLs as this host reaches them, one after another. Changes nothing.
#
# Standard input: lines "header TEXT" and "url TEXT". Either may hold a secret: curl reads them from a file that nobody
# else can read, not from its command line. CA is a file on this host, or "-".
# include at_most.sh
most_kb=8192
seconds=$1
ca=$2

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
