# shellcheck shell=sh disable=SC2034,SC2154
# stage: put a release beside the running one. Nothing that serves is touched.
# needs: app home id user build_user plan_bytes format sha256 artifact_bytes url first base lists_bytes
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

require_stamped release "$id"
stand_back 10
# Every program that is started costs a millisecond or two on every host, so the shell does what it can.
group=$(id -g "$user" 2>/dev/null) || fail no-user "there is no user '$user' to run the application; run: invoke provision --env=…"

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

# The release is left from an interrupted deploy that is resumed now, or this step was sent twice.
if [ -e "$release" ]; then
    [ "$(readlink "$home/current" 2>/dev/null || :)" != "releases/$id" ] || fail exists "release $id runs already"
    rm -rf "$release"
fi
trap undo EXIT
trap 'exit 1' HUP INT TERM
require_roots "$home" "$home/shared" "$home/releases"
require_programs "$user"
if [ ! -d "$home/shared" ] || [ ! -d "$home/releases" ]; then
    (umask 022 && mkdir -p "$home/shared" "$home/releases") || explain_space 'making folders' unwritable "cannot write to $home"
fi
mkdir -p "$meta" || explain_space 'making folders' unwritable "cannot write to $home"
[ "$roots_open" = yes ] || chmod 0755 "$home" "$home/releases" "$home/shared"
# config is the last file of the overlay: it is there only if all of the overlay arrived.
head -c "$plan_bytes" | tar --extract --same-permissions --directory "$meta" --file - 2>/dev/null || :
[ -f "$meta/config" ] ||
    explain_space 'unpacking the configuration' cut 'the configuration of the release did not arrive whole'

free=$(df -k --output=avail "$home")
free=${free##*[!0-9]}
room=$((free - 1024))
[ "$room" -gt $((artifact_bytes / 1024)) ] ||
    fail no-space "$home has room for $free kB, and the artifact needs $((artifact_bytes / 1024)) kB"

# unpacked FORMAT [OPTION...]: decompress standard input, and write no more than there is room for. On failure, read the
# rest of the input: else the sender gets a broken pipe before it reads the reason.
unpacked() {
    (ulimit -f "$((room * 2))" && decompress "$@" 2>"$incoming.err") || {
        printf '%s\n' "$?" >"$incoming.bad"
        cat >/dev/null
    }
}
arrived() {
    IFS= read -r word || :
    [ "$word" = whole ] || fail cut 'the artifact did not arrive whole'
}
# require_code: refuse to reuse a file of BASE that its user could write to, also through a link: a hard link would let the
# user write into this release.
require_code() {
    set -- "$home/releases/$base/.slipway"
    [ -s "$1/writable" ] || [ -s "$1/shared" ] || return 0
    cat "$1/writable" "$1/shared" >"$incoming.theirs"
    cat "$lists/same" "$lists/changed" | tr '\0' '\n' |
        awk 'FNR == NR { theirs[$0 "/"]; next } { for (t in theirs) if (index($0 "/", t) == 1) exit 1 }' "$incoming.theirs" - ||
        fail no-base "the application's user can write to files of release $base that this one would reuse"
}
if [ -n "$url" ]; then
    fetch_artifact "$url" "$sha256" "$incoming.fetched" "$home/.fetched"
    unpacked "$format" <"$incoming.fetched" >"$incoming.tar"
elif [ "$base" = - ]; then
    # The artifact is checked and decompressed while it arrives.
    sum=$({ head -c "$artifact_bytes" | tee /dev/fd/3 | unpacked "$format" >"$incoming.tar"; } 3>&1 | sum_stdin $((artifact_bytes / 1024)))
    arrived
    [ "${sum%% *}" = "$sha256" ] ||
        explain_space 'receiving the artifact' checksum "the artifact that arrived is not the one that was asked for: its SHA-256 is ${sum%% *}, expected $sha256"
else
    mkdir "$lists"
    head -c "$lists_bytes" | zstd -dcq | tar --extract --directory "$lists" --file - 2>/dev/null || :
    [ -f "$lists/sums" ] || explain_space 'receiving the artifact' cut 'the artifact did not arrive whole'
    require_code
    (cd "$home/releases/$base" && xargs -0 -r cat -- <"$lists/changed") >"$incoming.base" 2>/dev/null ||
        explain_space 'reading the base' no-base "release $base is not as it was deployed on this host"
    set -- zstd --long=31
    [ ! -s "$incoming.base" ] || set -- "$@" --patch-from="$incoming.base"
    sum=$(head -c "$artifact_bytes" | unpacked "$@" | tee "$incoming.tar" | sum_stdin $((artifact_bytes / 1024)))
    arrived
    [ "${sum%% *}" = "$sha256" ] || explain_space 'receiving the artifact' no-base "release $base is not as it was deployed on this host"
fi
if [ -s "$incoming.bad" ]; then
    # 153 means SIGXFSZ: the limit that was set above is reached.
    read -r status <"$incoming.bad"
    [ "$status" -ne 153 ] || fail no-space "$home has room for $free kB, and the unpacked artifact needs more"
    lacks_room "$home" || broken_archive "$incoming.err"
    fail "$lacking" "$said (while: decompressing)"
fi

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
[ "$hooks" = no ] || begin_build
unpack_archive "$incoming.tar" "$tree" 2>"$incoming.err" ||
    explain_space 'unpacking' unpack 'cannot unpack the artifact' "$(cat "$incoming.err")"
# tar only warns if it could not set an attribute.
! grep -q 'Warning: Cannot \|support is not available' "$incoming.err" ||
    fail_showing kept-attribute "the file system of $home does not keep what slipway_keep names" "$(cat "$incoming.err")"
[ ! -f "$meta/keep" ] || take_attributes "$tree"
rm -f "$incoming".tar* "$incoming".list* "$incoming".err "$incoming".fetched*

all_kb=$archive_kb
# Unchanged files are hard links to BASE's, because nobody writes into a release. They are copied if hooks change the tree
# or if the group differs. Files that BASE's user could write to are never reused (require_code).
if [ "$base" != - ]; then
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
fi

place_config
place_shared
[ "$hooks" = no ] || end_build
make_writable
# The application can read its release and not write in it, so the release stays as its manifest says.
# Files that have the right owner are skipped: they may be hard links into the running release, and chown would remove
# their capabilities.
find "$release" ! '(' -uid 0 -gid "$group" ')' -exec chown -h "root:$group" {} +
chmod -R u+rwX,g+rX,go-w,-t,u-s,g-s "$release"
# Only root can enter either folder until the end. The modes in .slipway let the group read, but it cannot get there.
chmod 0700 "$release" "$meta"
[ ! -f "$meta/keep" ] || give_attributes
give_writable

check_units

# If BASE's fingerprint still matches, its manifest's checksums hold for the reused files, so these are not read again.
# Names with a newline are in no list.
untouched=no
if [ "$base" != - ] && [ "$hooks" = no ] && is_untouched "$home/releases/$base"; then untouched=yes; fi
sum_new_files() {
    tr '\0' '\n' <"$lists/same" | sed 's|^|./|' >"$incoming.same"
    {
        awk 'FILENAME == ARGV[1] { same[$0]; next } substr($0, 67) in same' "$incoming.same" "$home/releases/$base/.slipway/manifest"
        tr '\0' '\n' <"$incoming.files" | awk 'FILENAME == ARGV[1] { same[$0]; next } !($0 in same)' "$incoming.same" - |
            tr '\n' '\0' | sum_files "$all_kb"
    } | sort -k 1.67 >"$incoming.manifest"
}

# Write the release's manifest, a line for each file. Rollback and the backup drill compare with it.
: >"$meta/links"
(
    cd "$release" || exit 1
    find . -path './.slipway/manifest*' -prune -o -path ./.slipway/links -prune -o -path ./.slipway/lists -prune -o -type l -fprintf "$incoming.links" '%p -> %l\n' \
        -o -type f -fprint0 "$incoming.files"
    [ ! -s "$incoming.links" ] || sort "$incoming.links" >"$meta/links"
    printf './.slipway/links\0' >>"$incoming.files"
    # Hooks may have given files any name.
    [ "$hooks" = no ] || all_kb=0
    if [ "$untouched" = yes ]; then
        sum_new_files
    else
        sort -z "$incoming.files" | sum_files "$all_kb" >"$incoming.manifest"
    fi
    if [ -s "$meta/writable" ]; then
        # sha256sum(1) writes a name's backslash twice.
        sed 's|\\|&&|g; s|^|./|' "$meta/writable" |
            awk 'NR == FNR { writable[$0 "/"]; next }
                { for (w in writable) if (index(substr($0, index($0, "./")) "/", w) == 1) next; print }' \
                - "$incoming.manifest" >"$meta/manifest"
    else
        mv "$incoming.manifest" "$meta/manifest"
    fi
)
if [ "$base" != - ] && [ "$hooks" = no ]; then
    awk 'NR == FNR { there[$0]; next } !($0 in there) { exit 1 }' "$meta/manifest" "$lists/sums" ||
        fail no-base "release $base is not as it was deployed on this host"
fi
[ ! -d "$lists" ] || rm -rf "$lists"
clear_incoming
# The release is finished, and whoever can enter it from now on finds it in its final state.
chmod 0755 "$release"
keep_print "$release"
# The release is on disk before it is marked complete, so a power cut leaves a complete release or none.
sync -f "$release"
: >"$meta/complete"
sync "$meta/complete" "$meta"
emit staged "$archive_files" "$archive_kb"
