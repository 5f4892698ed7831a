# shellcheck shell=sh disable=SC2154
# The artifact arrives, or is fetched: it becomes the tar archive $incoming.tar. Needs what stage.sh needs, room (kB),
# archive.sh, fetch.sh and checksums.sh.

# receive_artifact: take the artifact by whichever way it comes.
receive_artifact() {
    if [ -n "$url" ]; then
        fetch_artifact "$url" "$sha256" "$incoming.fetched" "$home/.fetched"
        unpacked "$format" <"$incoming.fetched" >"$incoming.tar"
    elif [ "$base" = - ]; then
        receive_whole
    else
        receive_delta
    fi
    require_unpacked
}

# receive_whole: check and decompress the artifact while it arrives.
receive_whole() {
    sum=$({ head -c "$artifact_bytes" | tee /dev/fd/3 | unpacked "$format" >"$incoming.tar"; } 3>&1 | sum_stdin $((artifact_bytes / 1024)))
    arrived
    [ "${sum%% *}" = "$sha256" ] ||
        explain_space 'receiving the artifact' checksum "the artifact that arrived is not the one that was asked for: its SHA-256 is ${sum%% *}, expected $sha256"
}

# receive_delta: apply a patch to the files of base that have changed.
receive_delta() {
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
}

# unpacked FORMAT [OPTION...]: decompress standard input, and write no more than three quarters of what there is room for: what
# unpacks to more finds no room afterwards, and others on this disk need some meanwhile. On failure, read the
# rest of the input: else the sender gets a broken pipe before it reads the reason.
unpacked() {
    (ulimit -f "$((room * 3 / 2))" && decompress "$@" 2>"$incoming.err") || {
        printf '%s\n' "$?" >"$incoming.bad"
        cat >/dev/null
    }
}

# arrived: fail without the line after the artifact, because then the connection broke.
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

# require_unpacked: fail if the artifact could not be decompressed.
require_unpacked() {
    [ -s "$incoming.bad" ] || return 0
    # 153 means SIGXFSZ: the limit of unpacked is reached.
    read -r status <"$incoming.bad"
    [ "$status" -ne 153 ] || fail no-space "$home has room for $free kB, and the unpacked artifact needs more"
    lacks_room "$home" || broken_archive "$incoming.err"
    fail "$lacking" "$said (while: decompressing)"
}
