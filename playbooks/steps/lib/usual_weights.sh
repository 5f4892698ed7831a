# shellcheck shell=sh disable=SC2154
# A server's usual weight is the one in the settings. Needs state, work and incoming, where the file servers has a line for each
# server: NAME ADDRESS PORT WEIGHT and more.

# usual_weights: write a line into $work/usual for each server whose usual weight has changed since the last provision: NAME
# BEFORE NOW. A server without an earlier weight had 256.
usual_weights() {
    [ ! -f "$state/weights" ] || cp "$state/weights" "$work/weights"
    touch "$work/weights"
    awk 'FILENAME == ARGV[1] { was[$1] = $2; next }
        { name = $1; weight = $4; before = name in was ? was[name] : 256 }
        before != weight { print name, before, weight }' "$work/weights" "$incoming/servers" >"$work/usual"
}

# keep_usual_weights: a server that had its usual weight gets the new one. STATE/traffic gets it too, so that status does not
# report the change as one by hand.
keep_usual_weights() {
    awk '{ print $1, $4 }' "$incoming/servers" | sort >"$work/weights"
    mkdir -p "$state"
    cmp -s "$work/weights" "$state/weights" || replace_file "$state/weights" <"$work/weights"
    if [ ! -s "$work/usual" ] || [ ! -f "$state/traffic" ]; then return 0; fi
    awk 'FILENAME == ARGV[1] { before[$1] = $2; now[$1] = $3; next }
        { name = $1; weight = $4 }
        name in before && weight == before[name] { $4 = now[name] }
        { print }' "$work/usual" "$state/traffic" >"$work/traffic"
    cmp -s "$work/traffic" "$state/traffic" || replace_file "$state/traffic" <"$work/traffic"
}
