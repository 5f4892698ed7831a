# shellcheck shell=sh disable=SC2030,SC2031,SC2154
# What somebody changed in a release since it was made.

# include attributes.sh
# include fingerprint.sh
# include release_links.sh

# compare_release RELEASE HOW: prints a line for each: KIND, tab, name. Kinds: changed, missing, link, attributes; and
# where all that can be seen is looked at: mode, added. In a name a newline is \001, and a tab is \002.
#
# HOW "look": what can be seen of files without reading them says which to read; where nobody touched any, that is all.
# "sums": every file is read, and nothing else is looked at: whether it can be switched to. "all": both.
compare_release() (
    cd "$1" || exit 1
    compared=$(private_folder compare)
    trap 'rm -rf "$compared"' EXIT
    for compare_list in looked doubtful sums said; do : >"$compared/$compare_list"; done
    compare_all=$2
    if [ "$2" != sums ] && [ -s .slipway/looks ]; then
        compare_looks "$1"
    elif [ "$2" = look ] && ! is_untouched "$1"; then
        # Made before Slipway kept what files look like.
        compare_all=all
    fi
    if [ "$compare_all" = look ]; then
        # The metadata are few, and read always.
        awk 'FILENAME == ARGV[1] { doubtful[$0]; next }
            { name = substr($0, index($0, "./")) } name ~ /^\.\/\.slipway\// || name in doubtful' \
            "$compared/doubtful" .slipway/manifest >"$compared/sums"
    else
        cp .slipway/manifest "$compared/sums"
    fi
    # A FIFO would be waited at for good; its look has told of it.
    timeout --kill-after=5 3600 sha256sum --check --quiet --strict "$compared/sums" >"$compared/said" 2>/dev/null || :
    {
        cat "$compared/looked"
        # Of a name that has a newline, sha256sum says so by a backslash, and doubles its backslashes.
        sed -n -e '/^\\/ { s///; s/\\\\/\o002/g; s/\\n/\o001/g; s/\o002/\\/g }' -e 's|^\./||' \
            -e '/: FAILED open or read$/ { s///; s/^/missing\t/p; d }' \
            -e '/: FAILED$/ { s///; s/^/changed\t/p }' "$compared/said"
        [ "$compare_all" = look ] || compare_links . | bent_links
        compare_attributes . | sed -e 's|^[<>] ||' -e 's|^\./||' -e 's|\t[^\t]*$||' -e 's|^|attributes\t|'
    } | sort -u | outermost
)

# compare_looks RELEASE: what looks otherwise than it did. Names of files that may be as they were go to doubtful, as a
# manifest writes them.
compare_looks() {
    release_looks "$1" >"$compared/now"
    ! cmp -s "$compared/now" .slipway/looks || return 0
    # A look that did not end tells of nothing; its last byte is no NUL.
    if [ -n "$(tail -c 1 "$compared/now" | tr -d '\0' | tr '\n' '.')" ]; then
        [ "$compare_all" != look ] || compare_all=all
        return 0
    fi
    sort -z "$compared/now" >"$compared/now.sorted"
    sort -z .slipway/looks >"$compared/was.sorted"
    # A newline in a name is no end of a record.
    comm -z -13 "$compared/now.sorted" "$compared/was.sorted" | tr '\n\0' '\001\n' >"$compared/was"
    comm -z -23 "$compared/now.sorted" "$compared/was.sorted" | tr '\n\0' '\001\n' >"$compared/now"
    awk -v doubtful="$compared/names" '
        # name type size mtime inode mode user group target
        function taken_apart(line) {
            if (!match(line, / [a-zD] [0-9]+ [-0-9.]+ [0-9]+ [0-7]+ [0-9]+ [0-9]+ /)) return 0
            name = substr(line, 1, RSTART - 1)
            split(substr(line, RSTART + 1, RLENGTH - 2), part, " ")
            target = substr(line, RSTART + RLENGTH)
            return 1
        }
        FILENAME == ARGV[1] {
            if (taken_apart($0)) {
                type[name] = part[1]
                bytes[name] = part[2] " " part[3] " " part[4]
                mode[name] = part[5] " " part[6] " " part[7]
                leads[name] = target
            }
            next
        }
        taken_apart($0) {
            shown = name == "" ? "." : name
            if (!(name in type)) print "added\t" shown
            else if (type[name] != part[1]) print "changed\t" shown
            else {
                if (part[1] == "l") { if (leads[name] != target) print "link\t" shown }
                else if (mode[name] != part[5] " " part[6] " " part[7]) print "mode\t" shown
                if (part[1] == "f" && bytes[name] != part[2] " " part[3] " " part[4]) print "./" name >doubtful
            }
            delete type[name]
        }
        END { for (name in type) print "missing\t" name }' "$compared/was" "$compared/now" >"$compared/looked"
    if [ -f "$compared/names" ]; then
        sed "s/\\\\/\\\\\\\\/g; s/$(printf '\001')/\\\\n/g" "$compared/names" >"$compared/doubtful"
    fi
}

# bent_links: links that are otherwise than they were staged, or in the place of a file that was. One that was only added is
# no more than a file that was.
bent_links() {
    awk '
        FILENAME == ARGV[1] || FILENAME == ARGV[2] { sub(/^[^.]*/, ""); sub(/ -> .*/, ""); staged[$0]; next }
        { name = substr($0, 3); sub(/ -> .*/, "", name) }
        name in staged { print "link\t" substr(name, 3) }' .slipway/links .slipway/manifest -
}

# outermost: of what is gone or was added, with all that is in it, a line for the folder; a link that is gone is told once.
outermost() {
    awk -F '\t' '
        { lines[NR] = $0; kind[NR] = $1; name[NR] = substr($0, length($1) + 2); there[$0] }
        END {
            for (line = 1; line <= NR; line++) {
                inside = 0
                path = name[line]
                if (kind[line] == "link") inside = ("missing\t" path) in there || ("changed\t" path) in there
                if (kind[line] != "missing" && kind[line] != "added" && kind[line] != "link") path = ""
                while (match(path, /\/[^\/]*$/)) {
                    path = substr(path, 1, RSTART - 1)
                    if (((kind[line] == "link" ? "missing" : kind[line]) "\t" path) in there) { inside = 1; break }
                }
                gsub(/\t/, "\002", name[line])
                if (!inside) print kind[line] "\t" name[line]
            }
        }'
}
