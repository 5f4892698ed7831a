# shellcheck shell=sh disable=SC2034,SC2154
# stage HOME RELEASE USER PLAN-BYTES FORMAT SHA256 ARTIFACT-BYTES URL FIRST BASE LISTS-BYTES APP BUILD-USER
#
# Put a release beside the running one: nothing that serves is touched. Standard input: the plan (a tar archive, see
# release.py), then the artifact and the line "whole"; or, where a URL is given, what to fetch (see fetch.sh). A
# release is whole once it has .slipway/complete; anything else is rubbish, removed here on failure and by the next deploy
# after a crash.
#
# With a BASE other than "-", before the artifact come lists (a tar archive, zstd): "same", the files of that release which
# are to be in this one too; "changed", those of which new ones are made, and "sums", what all must be in the end. The
# artifact is what zstd has to add to the changed ones, one after another, to make an archive of all that is not the same;
# SHA256 is that archive's then.
#
# Until it is finished nobody but root can enter it: what is in it has its owner and mode before anybody can open it.
home=$1
id=$2
release=$home/releases/$id
user=$3
plan_bytes=$4
format=$5
sha256=$6
artifact_bytes=$7
url=$8
first=$9
meta=$release/.slipway
lists=$meta/lists
incoming=$home/releases/.incoming.$id
shift 9
base=$1
lists_bytes=$2
app=$3
build_user=$4
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
# Every program started here costs a millisecond or two on every host: what the shell can do, it does.
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
# explain_space DOING CODE SENTENCE [OUTPUT]: a full disk shows in any command that writes, so it is told from here.
explain_space() {
    explain_output=${4:-}
    ! lacks_room "$home" || fail "$lacking" "$said (while: $1)"
    fail_showing "$2" "$3" "$explain_output"
}

# Left by a deploy that was interrupted and is gone on with, or by our own step begun twice.
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
# Its last file is there only if all came.
head -c "$plan_bytes" | tar --extract --same-permissions --directory "$meta" --file - 2>/dev/null || :
[ -f "$meta/config" ] ||
    explain_space 'unpacking the configuration' cut 'the configuration of the release did not arrive whole'

free=$(df -k --output=avail "$home")
free=${free##*[!0-9]}
room=$((free - 1024))
[ "$room" -gt $((artifact_bytes / 1024)) ] ||
    fail no-space "$home has room for $free kB, and the artifact needs $((artifact_bytes / 1024)) kB"

# unpacked FORMAT [OPTION...]: decompress within the room there is. What is left of the input is read, so that whoever
# sends it is not cut off, and the reason is heard.
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
# require_code: nothing that is to be taken over from the base lies where its user could write, or beyond a link to where he
# can: by a hard link he would go on writing into this release, too.
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
    # Checked and decompressed while it arrives.
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
    # 153: SIGXFSZ, the limit that was set above.
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
# Twice: as an archive, and unpacked; once more where hooks make a release of it.
times=2
[ "$hooks" = no ] || times=3
[ "$room" -gt $((archive_kb * times)) ] ||
    fail no-space "$home has room for $free kB, and unpacking the artifact needs $((archive_kb * times)) kB"
[ "$hooks" = no ] || begin_build
unpack_archive "$incoming.tar" "$tree" 2>"$incoming.err" ||
    explain_space 'unpacking' unpack 'cannot unpack the artifact' "$(cat "$incoming.err")"
# That an attribute could not be set is a warning of tar's only.
! grep -q 'Warning: Cannot \|support is not available' "$incoming.err" ||
    fail_showing kept-attribute "the file system of $home does not keep what slipway_keep names" "$(cat "$incoming.err")"
[ ! -f "$meta/keep" ] || take_attributes "$tree"
rm -f "$incoming".tar* "$incoming".list* "$incoming".err "$incoming".fetched*

all_kb=$archive_kb
# What is the same is the same file, on disk once: nobody writes into a release. Unless hooks make it, or it is to be
# another group's: then it is copied. What the user of that release could write to is never taken over.
if [ "$base" != - ]; then
    all_kb=$many_kb
    set -- --link
    if [ "$hooks" = yes ] || [ "$(stat -c %g "$home/releases/$base")" != "$group" ]; then
        set -- --reflink=auto --preserve=mode,timestamps
    fi
    (cd "$home/releases/$base" && xargs -0 -r cp "$@" --parents --target-directory="$tree" -- <"$lists/same") \
        2>"$incoming.err" || explain_space 'taking over files' no-base "release $base is not as it was deployed on this host"
    if [ "$hooks" = yes ]; then
        (cd "$tree" && check_sums "$lists/sums" "$all_kb") ||
            fail no-base "release $base is not as it was deployed on this host"
    fi
fi

place_config
place_shared
[ "$hooks" = no ] || end_build
make_writable
# The application reads its release and writes nothing in it, so that it stays what its manifest says.
# What is so already may be the running release's own file, from which a change of owner would take capabilities away.
find "$release" ! '(' -uid 0 -gid "$group" ')' -exec chown -h "root:$group" {} +
chmod -R u+rwX,g+rX,go-w,-t,u-s,g-s "$release"
# Both are still root's to enter alone. The group may read what is in .slipway, and never can reach it.
chmod 0700 "$release" "$meta"
[ ! -f "$meta/keep" ] || give_attributes
give_writable

check_units

# What the base's manifest says of files that were taken over is as true as it was, if nobody has touched the base since:
# they need not be read. Names with a newline are in no list.
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

# What belongs to the release, file by file: rollback and the backup drill compare with it.
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
# Finished: whoever opens something in it now finds it as it stays.
chmod 0755 "$release"
keep_print "$release"
# On disk before it is called complete: a host that loses power has a whole release or none.
sync -f "$release"
: >"$meta/complete"
sync "$meta/complete" "$meta"
emit staged "$archive_files" "$archive_kb"
