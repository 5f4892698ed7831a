# shellcheck shell=sh disable=SC2154
# A release gets the attributes that slipway_keep names: they come from the artifact, and survive the hooks and the change of
# owners. Only root can reach the artifact's tree and the release meanwhile. Needs release, meta, incoming, hooks, base.

# include attributes.sh
# include no_links.sh

# judge_attributes KEEP LINES WRITABLE: print the lines as they may be in a release; "refused WHY" if one may not be there.
#
# Modes in an access list become those of other files: the owner may write, whoever can read still can, and nobody else may
# write. A capability of the first or third version (capabilities(7)) is old, or is of a container's root, so it is refused.
judge_attributes() {
    awk -v keep="$1" -v writable="$3" '
    function refuse(why) { print "refused \"" file "\" " why; refused = 1; exit }
    function digit(at) { return index("0123456789abcdef", substr(value, at, 1)) - 1 }
    function require_capability(from, first,    byte, bit, number, called) {
        for (byte = 0; byte < 4; byte++)
            for (bit = 0; bit < 8; bit++) {
                if (int(digit(from + 2 * byte + (bit < 4)) / 2 ^ (bit % 4)) % 2 == 0) continue
                number = first + 8 * byte + bit
                called = (number + 1 in names) ? names[number + 1] : number
                if (!(called in allowed)) refuse("has the capability " called ", which slipway_capabilities does not allow")
            }
    }
    # An entry has a tag and a mode of two bytes each, and an id of four. The lowest byte comes first.
    function plain_list(    at, tag, mode, any, mask, named, made) {
        for (at = 9; at < length(value); at += 16) {
            mode = digit(at + 5)
            if (mode % 2) any = 1
            tag = substr(value, at, 2)
            if (tag == "10") mask = mode
            if ((tag == "02" || tag == "08") && mode >= 2 && mode != 4 && mode != 5) named = 1
        }
        if (named && int(mask / 2) % 2) refuse("has an access list by which somebody else may write, which no file of a release can have")
        made = substr(value, 1, 8)
        for (at = 9; at < length(value); at += 16) {
            tag = substr(value, at, 2)
            mode = digit(at + 5)
            if (tag == "01") mode = 6 + any
            else if (int(mode / 2) % 2 && tag != "02" && tag != "08") mode -= 2
            if ((tag == "04" || tag == "10") && mode < 4) mode += 4
            if ((tag == "04" || tag == "10") && any && mode % 2 == 0) mode++
            made = made substr(value, at, 5) mode substr(value, at + 6, 10)
        }
        return made
    }
    BEGIN {
        split("chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service " \
            "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin " \
            "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override " \
            "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore", names, " ")
        for (i in names) names[i] = "cap_" names[i]
        while ((getline line <keep) > 0) {
            if (line ~ /^capability /) { allowed[substr(line, 12)]; kept["capabilities"] }
            else kept[line]
        }
        while ((getline line <writable) > 0) theirs["./" line "/"]
    }
    {
        at = match($0, /\t[^\t]*=0x[0-9a-f]*$/)
        file = at ? substr($0, 1, at - 1) : $0
        name = substr($0, at + 1)
        value = name
        sub(/=0x[0-9a-f]*$/, "", name)
        sub(/^.*=0x/, "", value)
        for (w in theirs) if (index(file "/", w) == 1) refuse("is its user'\''s own by slipway_writable, and cannot keep " name)
        if (at && name == "security.capability") {
            if (!("capabilities" in kept)) refuse("has file capabilities, which slipway_keep does not name")
            if (value !~ /^0[01]000002/ || length(value) != 40) refuse("has file capabilities of a kind that is not known")
            require_capability(9, 0)
            require_capability(17, 0)
            require_capability(25, 32)
            require_capability(33, 32)
        } else if (at && name == "system.posix_acl_access") {
            if (!("acls" in kept)) refuse("has an access control list, which slipway_keep does not name")
            if (value !~ /^02000000/ || length(value) % 16 != 8) refuse("has an access control list of a kind that is not known")
            value = plain_list()
        } else if (at && name ~ /^user\.[A-Za-z0-9_.-]+$/) {
            if (!("xattrs" in kept)) refuse("has extended attributes, which slipway_keep does not name")
        } else refuse("has " (name == "system.posix_acl_default" ? "an access list for what is made in it later" : "an attribute of a kind that no release keeps"))
        print file "\t" name "=0x" value
    }' "$2"
}

# take_attributes TREE: keep the attributes of the artifact's files in $incoming.attributes before owners change, because that
# removes capabilities. $incoming.capable gets the checksums of files that have capabilities.
take_attributes() {
    list_attributes "$1" >"$incoming.found"
    judge_attributes "$meta/keep" "$incoming.found" "$meta/writable" >"$incoming.attributes"
    why=$(sed -n 's/^refused //p' "$incoming.attributes")
    [ -z "$why" ] || fail kept-attribute "the artifact is refused: $why"
    # getfattr escapes a name with a line break or a backslash, and only setfattr can read that.
    sed -n "s/${tab}security\.capability=0x[0-9a-f]*\$//p" "$incoming.attributes" >"$incoming.capable.names"
    ! grep -q '[\\]' "$incoming.capable.names" ||
        fail kept-attribute 'the artifact is refused: a file with capabilities has a line break or a backslash in its name'
    (cd "$1" && tr '\n' '\0' <"$incoming.capable.names" | xargs -0 -r sha256sum) >"$incoming.capable"
}

# give_attributes: set the attributes in the finished release. Capabilities are only for the content that came with them.
# Attributes of other files, set by a hook or by somebody who worked on the base of a delta, must be allowed just the same.
give_attributes() {
    if [ -s "$incoming.attributes" ]; then
        awk '{ at = match($0, /\t[^\t]*$/); print "# file: " substr($0, 1, at - 1); print substr($0, at + 1); print "" }' \
            "$incoming.attributes" >"$incoming.restore"
        given=0
        # shellcheck disable=SC2016
        no_links - "$release" -- sh -c '
            cd "$1" || exit 1
            [ ! -s "$2" ] || sha256sum --check --quiet --strict "$2" 2>/dev/null || exit 3
            exec setfattr --no-dereference --restore="$3"' sh "$release" "$incoming.capable" "$incoming.restore" \
            >"$incoming.err" 2>&1 || given=$?
        why=$(tr '\n' ' ' <"$incoming.err" | cut -c1-200)
        case $given in
            0) ;;
            3) fail kept-attribute "a file that has capabilities is not what the artifact brought: $why" ;;
            125) fail old-host "this host cannot change a tree without following links; Linux 5.10 and util-linux 2.37 can: $why" ;;
            *) fail kept-attribute "the file system of $home does not keep what slipway_keep names: $why" ;;
        esac
    fi
    list_attributes "$release" >"$incoming.found"
    if [ "$hooks" = no ]; then
        cmp -s "$incoming.found" "$incoming.attributes" || [ "$base" = - ] || fail no-base "release $base is not as it was deployed on this host"
    fi
    judge_attributes "$meta/keep" "$incoming.found" "$meta/writable" >"$meta/attributes"
    why=$(sed -n 's/^refused //p' "$meta/attributes")
    [ -z "$why" ] || fail kept-attribute "the release is refused: $why"
    sort "$incoming.attributes" | comm -23 - "$meta/attributes" >"$incoming.lost"
    [ ! -s "$incoming.lost" ] ||
        fail kept-attribute "what slipway_keep names is lost on $(head -n 1 "$incoming.lost" | tr '\t' ' ' | cut -c1-200); does a hook or slipway_config replace it?"
}
