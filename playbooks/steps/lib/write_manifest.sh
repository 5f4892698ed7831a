# shellcheck shell=sh disable=SC2154
# The manifest of a release that is being staged, a line for each file: rollback and the backup drill compare with it. Needs
# what stage.sh needs, hooks, all_kb, fingerprint.sh and checksums.sh.

# write_manifest: write it, and the list of links. What the user can write to is not in the manifest.
write_manifest() {
    : >"$meta/links"
    (
        cd "$release" || exit 1
        list_files
        sum_all_files
        leave_out_writable
    )
    [ "$base" = - ] || [ "$hooks" = yes ] || require_listed
}

# list_files: write the paths of all files into $incoming.files, and the links.
list_files() {
    find . -path './.slipway/manifest*' -prune -o -path ./.slipway/links -prune -o -path ./.slipway/lists -prune -o -type l -fprintf "$incoming.links" '%p -> %l\n' \
        -o -type f -fprint0 "$incoming.files"
    [ ! -s "$incoming.links" ] || sort "$incoming.links" >"$meta/links"
    printf './.slipway/links\0' >>"$incoming.files"
}

# sum_all_files: write the checksums of all files into $incoming.manifest. If the fingerprint of base still
# matches, its manifest's checksums hold for the reused files, so these are not read again. Names with a newline are in no list.
sum_all_files() {
    # Hooks may have given files any name.
    [ "$hooks" = no ] || all_kb=0
    if [ "$base" != - ] && [ "$hooks" = no ] && is_untouched "$home/releases/$base"; then
        sum_new_files
    else
        sort -z "$incoming.files" | sum_files "$all_kb" >"$incoming.manifest"
    fi
}

# sum_new_files: take what base's manifest says of the reused files, and read the others.
sum_new_files() {
    tr '\0' '\n' <"$lists/same" | sed 's|^|./|' >"$incoming.same"
    {
        awk 'FILENAME == ARGV[1] { same[$0]; next } { path = substr($0, 67) } path in same' \
            "$incoming.same" "$home/releases/$base/.slipway/manifest"
        tr '\0' '\n' <"$incoming.files" | awk 'FILENAME == ARGV[1] { same[$0]; next } !($0 in same)' "$incoming.same" - |
            tr '\n' '\0' | sum_files "$all_kb"
    } | sort -k 1.67 >"$incoming.manifest"
}

# leave_out_writable: write the manifest without the files that the user may change.
leave_out_writable() {
    if [ -s "$meta/writable" ]; then
        # sha256sum(1) writes a name's backslash twice.
        sed 's|\\|&&|g; s|^|./|' "$meta/writable" |
            awk 'NR == FNR { writable[$0 "/"]; next }
                { path = substr($0, index($0, "./")) "/"; for (w in writable) if (index(path, w) == 1) next; print }' \
                - "$incoming.manifest" >"$meta/manifest"
    else
        mv "$incoming.manifest" "$meta/manifest"
    fi
}

# require_listed: fail if a file of the delta's list is not in the manifest as it should be.
require_listed() {
    awk 'NR == FNR { there[$0]; next } !($0 in there) { exit 1 }' "$meta/manifest" "$lists/sums" ||
        fail no-base "release $base is not as it was deployed on this host"
}
