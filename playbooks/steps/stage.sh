# shellcheck shell=sh disable=SC2034,SC2154
# stage: put a release beside the running one. Nothing that serves is touched.
# needs: app home id user build_user plan_bytes format sha256 artifact_bytes url first base lists_bytes root
#
# Standard input: the overlay (plan_bytes; a tar archive of configuration and units, made by pack() in
# playbooks/releases/render.py), then the artifact (artifact_bytes) and the line "whole". If url is not empty, the host
# fetches the artifact from there (fetch.sh). A release is complete once it has .slipway/complete. An incomplete one is
# removed: here after a failure, by the next deploy after a crash.
#
# With a base other than "-", lists (lists_bytes; a tar archive, zstd) come before the artifact. "same": files to take from
# base. "changed": files of base from which the patch starts. "sums": the checksum of every file in the end. The artifact is
# then a zstd patch over the concatenated "changed" files. Applied, it gives an archive of all files that are not in "same",
# and sha256 is that archive's.
#
# root is "-", or a drill's root directory, where the release is to be tried before a deploy (to_drill.sh).
#
# Only root can enter the release until it is finished, so nobody opens a file before its owner and mode are right.
release=$home/releases/$id
meta=$release/.slipway
lists=$meta/lists
incoming=$home/releases/.incoming.$id
tree=$release

# shellcheck source=playbooks/steps/lib/archive.sh
# include archive.sh
# include as_user.sh
# include build.sh
# include check_units.sh
# include fingerprint.sh
# include fetch.sh
# include hooks.sh
# include output.sh
# include keep_attributes.sh
# include names.sh
# include places.sh
# include disk_space.sh
# include programs.sh
# include root_only.sh
# include checksums.sh
# include receive_artifact.sh
# include restored.sh
# include to_drill.sh
# include write_manifest.sh

clear_incoming() {
    set -- "$incoming".*
    [ ! -e "$1" ] || rm -rf "$@"
}
undo() {
    status=$?
    trap - EXIT
    [ "$status" -eq 0 ] || last_words "$home"
    clear_incoming
    [ "$status" -eq 0 ] || rm -rf "$release"
    exit "$status"
}
# explain_space DOING CODE SENTENCE [OUTPUT]: fail with SENTENCE, unless the disk is full: any command that writes can fail
# for that, so then the message says so.
explain_space() {
    explain_output=${4:-}
    ! lacks_room "$home" || fail "$lacking" "$said (while: $1)"
    fail_showing "$2" "$3" "$explain_output"
}

# remove_former: remove what is left from an interrupted deploy that is resumed now, or from this step if it was sent twice.
remove_former() {
    [ -e "$release" ] || return 0
    [ "$root" = - ] || fail exists "there is a release $id on this host already"
    [ "$(readlink "$home/current" 2>/dev/null || :)" != "releases/$id" ] || fail exists "release $id runs already"
    rm -rf "$release"
}

# make_folders: make the folder of the release, and those around it.
make_folders() {
    if [ ! -d "$home/shared" ] || [ ! -d "$home/releases" ]; then
        (umask 022 && mkdir -p "$home/shared" "$home/releases") || explain_space 'making folders' unwritable "cannot write to $home"
    fi
    mkdir -p "$meta" || explain_space 'making folders' unwritable "cannot write to $home"
    [ "$roots_open" = yes ] || chmod 0755 "$home" "$home/releases" "$home/shared"
}

# receive_overlay: unpack configuration and units.
receive_overlay() {
    head -c "$plan_bytes" | tar --extract --same-permissions --directory "$meta" --file - 2>/dev/null || :
    # The last file of the overlay: it is there only if all of it arrived.
    [ -f "$meta/config" ] ||
        explain_space 'unpacking the configuration' cut 'the configuration of the release did not arrive whole'
}

# find_room: set free and room, in kB, and refuse an artifact that is larger.
find_room() {
    free=$(df -k --output=avail "$home")
    free=${free##*[!0-9]}
    room=$((free - 1024))
    [ "$room" -gt $((artifact_bytes / 1024)) ] ||
        fail no-space "$home has room for $free kB, and the artifact needs $((artifact_bytes / 1024)) kB"
}

# judge_archive: refuse an archive that may not be unpacked, or has no room. Sets hooks to yes if hooks build the release.
judge_archive() {
    archive_keep=/dev/null
    if [ -f "$meta/keep" ]; then
        archive_keep=$meta/keep
        need getfattr setfattr
    fi
    check_archive "$incoming.tar" "$incoming.list"
    hooks=no
    [ ! -d "$meta/hooks/install" ] || hooks=yes
    # The disk holds the content twice, as an archive and unpacked, and a third time if hooks build the release.
    times=2
    [ "$hooks" = no ] || times=3
    [ "$room" -gt $((archive_kb * times)) ] ||
        fail no-space "$home has room for $free kB, and unpacking the artifact needs $((archive_kb * times)) kB"
}

# unpack: unpack the archive into the tree.
unpack() {
    unpack_archive "$incoming.tar" "$tree" 2>"$incoming.err" ||
        explain_space 'unpacking' unpack 'cannot unpack the artifact' "$(cat "$incoming.err")"
    # tar only warns if it could not set an attribute.
    ! grep -q 'Warning: Cannot \|support is not available' "$incoming.err" ||
        fail_showing kept-attribute "the file system of $home does not keep what slipway_keep names" "$(cat "$incoming.err")"
    [ ! -f "$meta/keep" ] || take_attributes "$tree"
    rm -f "$incoming".tar* "$incoming".list* "$incoming".err "$incoming".fetched*
}

# reuse_files: take the unchanged files from base, as hard links, because nobody writes into a release. They are copied if hooks
# change the tree or if the group differs. Files that its user could write to are never reused (require_code).
reuse_files() {
    all_kb=$archive_kb
    [ "$base" != - ] || return 0
    all_kb=$many_kb
    set -- --link
    if [ "$hooks" = yes ] || [ "$(stat -c %g "$home/releases/$base")" != "$group" ]; then
        set -- --reflink=auto --preserve=mode,timestamps
    fi
    (cd "$home/releases/$base" && xargs -0 -r cp "$@" --parents --target-directory="$tree" -- <"$lists/same") \
        2>"$incoming.err" || explain_space 'reusing files' no-base "release $base is not as it was deployed on this host"
    if [ "$hooks" = yes ]; then
        (cd "$tree" && check_sums "$lists/sums" "$all_kb") ||
            fail no-base "release $base is not as it was deployed on this host"
    fi
}

# settle_owners: let the application read its release and not write in it, so that the release stays as its manifest says.
settle_owners() {
    # Files that have the right owner are skipped: they may be hard links into the running release, and chown would remove
    # their capabilities.
    find "$release" ! '(' -uid 0 -gid "$group" ')' -exec chown -h "root:$group" {} +
    chmod -R u+rwX,g+rX,go-w,-t,u-s,g-s "$release"
    # Only root can enter either folder until the end. The modes in .slipway let the group read, but it cannot get there.
    chmod 0700 "$release" "$meta"
    [ ! -f "$meta/keep" ] || give_attributes
    give_writable
}

# finish_release: open the release, which is in its final state, and mark it as complete.
finish_release() {
    chmod 0755 "$release"
    keep_print "$release"
    # The release is on disk before it is marked complete, so a power cut leaves a complete release or none.
    sync -f "$release"
    : >"$meta/complete"
    sync "$meta/complete" "$meta"
}

require_stamped release "$id"
stand_back 10
# Every program that is started costs a millisecond or two on every host, so the shell does what it can.
group=$(id -g "$user" 2>/dev/null) || fail no-user "there is no user '$user' to run the application; run: invoke provision --env=…"
remove_former
trap undo EXIT
trap 'exit 1' HUP INT TERM
require_roots "$home" "$home/shared" "$home/releases"
[ "$root" = - ] || require_drill
require_programs "$user"
make_folders
if [ "$root" != - ]; then
    clear_former_tries
    : >"$meta/tried"
fi
receive_overlay
find_room
receive_artifact
judge_archive
[ "$hooks" = no ] || begin_build
unpack
reuse_files
place_config
place_shared
[ "$hooks" = no ] || end_build
make_writable
settle_owners
check_units
write_manifest
[ ! -d "$lists" ] || rm -rf "$lists"
if [ "$root" = - ]; then
    clear_incoming
    finish_release
else
    move_to_drill
fi
emit staged "$archive_files" "$archive_kb"
