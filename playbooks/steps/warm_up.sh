# shellcheck shell=sh disable=SC2154
# warm_up: ask for each page so many times. Changes nothing but what is cached.
# needs: times parallel seconds
# words: URL...

need curl
work=$(private_folder)
trap 'rm -rf "$work"' EXIT
count=0
for url in "$@"; do
    # curl's own configuration: a URL is never read as an option, nor by a shell.
    quoted=$(printf '%s' "$url" | sed 's/\\/\\\\/g; s/"/\\"/g')
    round=0
    while [ "$round" -lt "$times" ]; do
        printf 'url = "%s"\noutput = /dev/null\n' "$quoted"
        round=$((round + 1))
        count=$((count + 1))
    done
done >"$work/wanted"
# The loop ran in a redirection, not in a shell of its own: count is known here.
timeout "$seconds" curl --disable --globoff --silent --parallel --parallel-immediate --parallel-max "$parallel" --max-time "$seconds" \
    --write-out '%{http_code} %{time_total} %{url}\n' --config "$work/wanted" >"$work/heard" 2>/dev/null || :
awk '{ status = $1; seconds = $2; url = $3 }
    { n++; sum += seconds; if (status < 200 || status >= 400) { bad++; if (why == "") why = url ": HTTP " status } }
    END { printf "%d\t%d\t%d\t%s\n", n, bad, n ? 1000 * sum / n : 0, why }' "$work/heard" >"$work/sums"
IFS="$tab" read -r done_ bad milliseconds why <"$work/sums" || :
emit warmed "$count" "$done_" "$bad" "$milliseconds" "$why"
