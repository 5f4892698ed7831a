# shellcheck shell=sh
# An artifact becomes a release: it is decompressed once, judged by its listing, then unpacked.
# include output.sh

# Some kilobytes unpack to any number of empty files. awk keeps their names in memory, and walks along each.
archive_most=2000000
archive_listing_kb=1048576

# decompress FORMAT [ZSTD-OPTION...]: decompress standard input to standard output.
decompress() {
    case $1 in
        zstd) shift && zstd -dcq "$@" ;;
        gzip) gzip -dc ;;
        # zstd by itself refuses more; the dictionary of an xz file may take four gigabytes.
        xz) xz -dc --memory=256MiB ;;
        none) cat ;;
        *) fail usage "unknown archive format $1" ;;
    esac
}

# keeps PATTERN: whether slipway_keep, whose lines are in $archive_keep, has a line that matches PATTERN.
keeps() { [ -s "${archive_keep:-}" ] && grep -qx "$1" "$archive_keep"; }

# check_archive TAR LISTING: refuse an archive that would reach out of its folder, before it is unpacked. It prints nothing, and
# fails the step with the member's name. Sets archive_kb (the room that the archive takes when unpacked), archive_files and
# archive_links.
check_archive() {
    archive_listing=$2
    # With C quoting each name is one line, and cannot look like the arrow of a link. --absolute-names shows names and targets
    # as they are in the archive and not as tar would correct them. tar marks a member that has more than a mode. A Mac's
    # attributes and SELinux labels mean nothing on another host, so they are ignored. Attributes that are kept are judged after
    # unpacking.
    archive_tar=$1
    set -- --xattrs --xattrs-include='*' --xattrs-exclude='com.apple.*' --xattrs-exclude=security.selinux
    keeps acls || set -- "$@" --acls
    ! keeps xattrs || set -- "$@" --xattrs-exclude='user.*'
    ! keeps 'capability .*' || set -- "$@" --xattrs-exclude=security.capability
    archive_listed=0
    (ulimit -f $((archive_listing_kb * 2)) && exec tar --list "$@" --absolute-names --verbose --numeric-owner --quoting-style=c \
        --file "$archive_tar" >"$archive_listing.marked" 2>"$archive_listing.err") || archive_listed=$?
    # SIGXFSZ
    [ "$archive_listed" -ne 153 ] || fail hostile-archive "the artifact is refused: the list of what is in it is larger than $((archive_listing_kb / 1024)) MB"
    [ "$archive_listed" -eq 0 ] || broken_archive "$archive_listing.err"
    verdict=$(awk -v most="$archive_most" "$archive_rules" "$archive_listing.marked")
    # The listing of tar --extract has no column for the mark.
    cut -c1-10,12- "$archive_listing.marked" >"$archive_listing"
    # shellcheck disable=SC2034
    case $verdict in
        ok*)
            verdict=${verdict#ok }
            archive_kb=${verdict%% *}
            verdict=${verdict#* }
            archive_files=${verdict% *}
            archive_links=${verdict#* }
            ;;
        *) fail "${verdict%% *}" "the artifact is refused: ${verdict#* }" ;;
    esac
}

broken_archive() {
    # zstd says this about a window that is larger than it accepts by default, because of the memory that it takes; xz the last.
    ! grep -q 'too much memory\|Use --long=\|Memory usage limit' "$1" ||
        fail large-window 'the artifact is compressed with a window of more than 128 MB (zstd --long or --ultra, or a dictionary of xz); that would take as much memory on every host'
    fail_showing damaged-archive 'the artifact cannot be read as an archive' "$(tr -d '\000' <"$1")"
}

# shellcheck disable=SC2016
archive_rules='
    # code: the error code of the step.
    function refuse(why, code) { print (code == "" ? "hostile-archive" : code) " " why; refused = 1; exit }
    # quoted: return the C-quoted string with which text begins, and set rest to what follows it.
    function quoted(text,    i, c) {
        for (i = 2; i <= length(text); i++) {
            c = substr(text, i, 1)
            if (c == "\\") i++
            else if (c == "\"") { rest = substr(text, i + 1); return substr(text, 2, i - 2) }
        }
        refuse("a name in it cannot be read")
    }
    # plain: return a path inside the tree without its empty parts and dots.
    function plain(path,    parts, n, i, out) {
        n = split(path, parts, "/")
        for (i = 1; i <= n; i++)
            if (parts[i] != "" && parts[i] != ".") out = out (out == "" ? "" : "/") parts[i]
        return out
    }
    # link_before: return the link of the archive that is on the way to a path; "" if the way goes through folders only.
    function link_before(path,    parts, n, i, way) {
        n = split(path, parts, "/")
        for (i = 1; i < n; i++) {
            way = way (i == 1 ? "" : "/") parts[i]
            if (way in links) return way
        }
        return ""
    }
    # follow: follow a link, and every link of the archive on the way, to its end. Refuse a link that leaves the tree, ends in
    # .slipway, or never ends. Dots and missing parts count as they are written, because nothing else is in the tree.
    function follow(name,    way, rest, part, at, hops) {
        way = name
        sub(/(^|\/)[^\/]*$/, "", way)
        rest = links[name]
        while (rest != "") {
            at = index(rest, "/")
            part = at ? substr(rest, 1, at - 1) : rest
            rest = at ? substr(rest, at + 1) : ""
            if (part == "" || part == ".") continue
            if (part == "..") {
                if (way == "") refuse("\"" name "\" is a link out of the tree, to " links[name])
                sub(/(^|\/)[^\/]*$/, "", way)
                continue
            }
            way = way (way == "" ? "" : "/") part
            if (!(way in links)) continue
            if (++hops > 40) refuse("\"" name "\" is a link that leads round in circles")
            rest = links[way] "/" rest
            sub(/(^|\/)[^\/]*$/, "", way)
        }
        if (way ~ /^\.slipway(\/|$)/) refuse("\"" name "\" is a link to what is ours")
    }
    # depth: return how deep a path ends if it starts at a depth; -1 as soon as it leaves the tree.
    function depth(path, start,    parts, n, i) {
        n = split(path, parts, "/")
        for (i = 1; i <= n; i++) {
            if (parts[i] == "" || parts[i] == ".") continue
            start += (parts[i] == "..") ? -1 : 1
            if (start < 0) return -1
        }
        return start
    }
    function check_name(name,    escapes, folders) {
        # Two backslashes stand for one of the name.
        escapes = name
        gsub(/\\\\/, "", escapes)
        if (escapes ~ /\\[abfnrtv]/ || escapes ~ /\\[01][0-7][0-7]/) refuse("\"" name "\" has a control character in its name")
        if (name ~ /^\//) refuse("\"" name "\" is an absolute path")
        if (name ~ /(^|\/)\.\.(\/|$)/) refuse("\"" name "\" climbs out with ..")
        if (plain(name) ~ /^\.slipway(\/|$)/) refuse("\"" name "\" takes a name that Slipway uses")
        # With the folder before it, the path must be one that the system accepts (PATH_MAX is 4096), so that every link can be
        # followed.
        if (length(plain(name)) > 3000) refuse("\"" substr(name, 1, 60) "…\" is too long a path")
        if (split(plain(name), folders, "/") > 200) refuse("\"" substr(name, 1, 60) "…\" is in more than 200 folders")
        names[++count] = plain(name)
        if (count > most) refuse("it has more than " most " entries")
    }
    {
        start = index($0, "\"")
        if (!start) refuse("an entry cannot be read")
        mode = substr($0, 1, 10)
        name = quoted(substr($0, start))
        after = rest
        kind = substr(mode, 1, 1)
        check_name(name)
        if (kind !~ /[-dlh]/) refuse("\"" name "\" is a device or another special file")
        if (substr(mode, 4, 1) ~ /[sS]/ || (substr(mode, 7, 1) ~ /[sS]/ && kind != "d"))
            refuse("\"" name "\" is setuid or setgid")
        mark = substr($0, 11, 1)
        if (mark == "+") refuse("\"" name "\" has an access control list, which slipway_keep does not name", "undeclared-acl")
        if (mark == "*") refuse("\"" name "\" has file capabilities or other extended attributes, which slipway_keep does not name", "undeclared-capabilities")
        # tar --list skips as many bytes as the size says, and tar --extract does not, so members could hide there.
        if (kind != "-" && $3 != "0") refuse("\"" name "\" has a size that only files have")
        if (kind == "l" || kind == "h") {
            sub(/^ (->|link to) /, "", after)
            if (substr(after, 1, 1) != "\"") refuse("\"" name "\" is a link that cannot be read")
            target = quoted(after)
        }
        if (kind == "h") {
            check_name(target)
            hard[plain(name)] = plain(target)
        }
        if (kind == "l") {
            if (target ~ /^\//) refuse("\"" name "\" is a link out of the tree, to " target)
            if (depth(target, depth(name, 0) - 1) < 0) refuse("\"" name "\" is a link out of the tree, to " target)
            if (plain(name) in links) refuse("\"" name "\" is a link that is there twice")
            links[plain(name)] = target
        }
        if (kind == "-") { kilobytes += int(($3 + 4095) / 4096) * 4; members++ }
        else kilobytes += 4
    }
    END {
        if (refused) exit
        # A hard link to a link acts as that link in another place.
        for (name in hard)
            if (hard[name] in links) links[name] = links[hard[name]]
        for (name in links) follow(name)
        # A member that is unpacked through a link lands where the link points, perhaps in .slipway, whose hooks run as root.
        for (i = 1; i <= count; i++)
            if ((way = link_before(names[i])) != "") refuse("\"" names[i] "\" goes through the link \"" way "\"")
        if (!members) refuse("there is no file in it")
        if (kilobytes > 1e12) refuse("it unpacks to more than a petabyte")
        for (name in links) linked++
        for (name in hard) linked++
        printf "ok %.0f %d %d\n", kilobytes, members, linked
    }'

# unpack_archive TAR FOLDER: unpack an archive. Only root can enter the folder, which keeps its own mode whatever the archive
# says of "./". No file is made writable for a group or others, because somebody could keep a descriptor of it.
unpack_archive() {
    archive_tar=$1
    archive_tree=$2
    set --
    if keeps 'capability .*'; then set -- "$@" --xattrs --xattrs-include=security.capability; fi
    if keeps xattrs; then set -- "$@" --xattrs --xattrs-include='user.*'; fi
    if keeps acls; then set -- "$@" --acls; fi
    (umask 022 && exec tar --extract "$@" --no-same-owner --no-same-permissions --no-overwrite-dir --verbose --verbose --numeric-owner --quoting-style=c \
        --directory "$archive_tree" --file "$archive_tar") >"$archive_tar.unpacked" || return 1
    # Compare what was unpacked with what was checked, member by member, because two readings of one archive can differ. tar
    # also announces folders that are not members; no member's line looks like that, because each has an owner. With attributes
    # there is a column for the mark.
    [ $# -eq 0 ] || {
        cut -c1-10,12- "$archive_tar.unpacked" >"$archive_tar.plain"
        mv "$archive_tar.plain" "$archive_tar.unpacked"
    }
    grep -v '^d.........  *Creating directory: ' "$archive_tar.unpacked" | cmp -s "$archive_listing" - ||
        fail hostile-archive 'the artifact is refused: its content differs from its listing'
    [ "$archive_links" != 0 ] || return 0
    # The rules above have followed every link, and now the system confirms it. There is a limit, because realpath -m never ends
    # on some loops.
    timeout 60 find "$archive_tree" -path "$archive_tree/.slipway" -prune -o -type l -exec realpath -m -- {} + >"$archive_tar.links" ||
        fail hostile-archive 'the artifact is refused: its links cannot be followed'
    escaping=$(awk -v root="$(realpath -- "$archive_tree")/" \
        'index($0 "/", root) != 1 || index($0 "/", root ".slipway/") == 1 { print; exit }' "$archive_tar.links")
    [ -z "$escaping" ] || fail hostile-archive "the artifact is refused: its links lead out of the tree, to $escaping"
}
