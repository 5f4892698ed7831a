# shellcheck shell=sh disable=SC2034,SC2154
# Shared by every step that runs restic. Needs disk_space.sh, $state, $repository and a private folder $scratch. A step that
# lets restic read what others can change sets restic_views, folders (one in each line) in which restic follows no link (see
# no_links.sh), and restic_limit, a number of seconds, because a FIFO in its way would stop restic for good.
#
# Standard input, see payload.sh: "secret NAME VALUE" is restic's environment, and is read here; every
# other line goes to the step's own function payload_line. No password is ever in a command line or a file, and no program but
# restic has one in its environment.

# include payload.sh
# include root_only.sh
# include no_links.sh
# include attributes.sh

secrets=
lock_patience=60
restic_views=
restic_limit=
no_view='this host cannot read what other users can change without following their links, which takes Linux 5.10 and util-linux 2.37'

restic_line() {
    case $1 in
        secret) secrets=$secrets$2=$3$newline ;;
        *) payload_line "$@" ;;
    esac
}
read_payload() {
    # With half of the lines the backup would have half of the data.
    read_lines restic_line backup
    # restic makes and removes files there by name, as root, so nobody else may change the folder.
    case $repository in /*) require_root_only "$repository" 'the restic repository' ;; esac
}

# said_by FILE: print a program's error messages as one line.
said_by() { grep -v -e '^{' -e '^ *$' "$1" | tail -n 4 | tr -s '\n\t ' '   ' | cut -c1-300; }

# restic_with_secrets ARGUMENT...: run restic. It does not get the lock of backups (file descriptor 8): if restic or a program
# that it starts hangs, it would hold the lock after this step.
restic_with_secrets() (
    exec 8>&-
    set -f
    IFS=$newline
    # Others may fill /tmp, so restic's temporary files are elsewhere.
    export RESTIC_REPOSITORY="$repository" TMPDIR="$scratch"
    # A cache of a repository on this host would only be a second copy of it.
    case $repository in
        /*) set -- --no-cache "$@" ;;
        *) set -- --cache-dir "$state/cache" "$@" ;;
    esac
    if [ -z "$restic_views" ]; then
        for pair in $secrets; do export "${pair?}"; done
        exec restic "$@"
    fi
    # The program that makes the view gets no secret. Secrets come on standard input to the shell that becomes restic.
    # shellcheck disable=SC2016,SC2086
    printf '%s' "$secrets" | no_links - $restic_views -- timeout --signal=INT --kill-after=10 "$restic_limit" \
        sh -c 'while IFS= read -r pair; do export "$pair"; done; exec restic "$@" </dev/null' sh "$@"
)

# try_restic OUTPUT ARGUMENT...: run restic, and write its answer to a file. On failure the status is that of restic, and code
# and said tell the reason. A lock that a killed restic has left is removed (restic itself tells a stale lock from a live one).
# A live lock is waited for: another host may prune the same repository, for example.
try_restic() {
    restic_output=$1
    shift
    restic_waited=0
    while :; do
        restic_status=0
        restic_with_patience "$@" || restic_status=$?
        [ "$restic_status" -ne 0 ] || return 0
        grep -q 'already locked' "$restic_output.err" || break
        [ "$restic_waited" -lt "$lock_patience" ] || break
        if [ "$restic_waited" -eq 0 ]; then
            note 'the repository is locked; removing the lock if it is stale, else waiting'
            restic_with_secrets unlock >/dev/null 2>&1 </dev/null || :
            restic_waited=1
        else
            sleep 3
            restic_waited=$((restic_waited + 3))
        fi
    done
    explain_restic "$1" "$(said_by "$restic_output.err")"
    if [ "$code" = restic ] && lacks_room "$state" "$repository"; then code=no-space; fi
    return "$restic_status"
}

# restic repeats a failed read for a quarter of an hour. That is right for a network. But a pack on this host's own disk that is
# cut short stays cut, so restic is ended after a few tries.
restic_with_patience() {
    restic_with_secrets "$@" >"$restic_output" 2>"$restic_output.err" </dev/null &
    restic_pid=$!
    restic_watch=
    case "$repository $*" in
        /*' restore '* | /*' check '*)
            while sleep 1; do
                [ "$(grep -c 'retrying after' "$restic_output.err")" -lt 4 ] || kill "$restic_pid" || :
            done >/dev/null 2>&1 </dev/null 8>&- &
            restic_watch=$!
            ;;
    esac
    restic_ended=0
    wait "$restic_pid" || restic_ended=$?
    [ -z "$restic_watch" ] || kill "$restic_watch" 2>/dev/null || :
    return "$restic_ended"
}

# explain_restic COMMAND TEXT: set code and said by what restic says, because restic before 0.17 has one exit status for nearly
# everything.
explain_restic() {
    code=restic said="restic $1 failed: $2"
    if [ "$restic_status" -eq 125 ] && [ -n "$restic_views" ]; then
        code=old-host said="$no_view: $2"
        return
    fi
    # timeout(1) has ended restic, which has then removed its lock, unless it hung.
    if [ "$restic_status" -eq 124 ] && [ -n "$restic_limit" ]; then
        said="restic $1 did not end within $restic_limit s; is there a FIFO, or far more data than before? $2"
        return
    fi
    [ "$restic_status" -ne 137 ] || said="restic $1 was killed by signal 9; is there enough memory?"
    case $2 in
        *'wrong password'* | *'no key found'*)
            code=wrong-password said="the password does not open the restic repository $repository" ;;
        *'already locked'*)
            code=locked said="somebody else works on the restic repository $repository: $2" ;;
        *'o space left'* | *'uota exceeded'*)
            code=no-space said="no room for restic $1 ($repository): $2" ;;
        *'config file'* | *'Is there a repository'* | *'repository does not exist'*)
            case $2 in
                *'o such file'* | *'does not exist'* | *'ot found'* | *NoSuch*)
                    code=no-repository said="there is no restic repository at $repository" ;;
                *) code=no-answer said="the restic repository $repository cannot be reached: $2" ;;
            esac ;;
        *'verification failed'* | *'not match'* | *'nvalid data'* | *'unexpected EOF'* | *'is damaged'* | *'was not found'* | \
            *'o such file'* | *'contains errors'* | *'ecrypt'* | *'not found in'* | *EOF*)
            code=damaged said="the restic repository $repository is damaged: $2" ;;
    esac
}

run_restic() { try_restic "$@" || fail "$code" "$said"; }

# make_repository: make the repository at its first use. If records say that it held backups, it must exist, because a new one
# would hide that they are all gone.
make_repository() {
    for record in "$state"/backups/*.json; do
        if [ -f "$record" ] && [ "$(jq -r .repository "$record")" = "$repository" ]; then
            fail no-repository "the restic repository $repository is gone, though backup $(basename "$record" .json) was made in it"
        fi
    done
    note "making a restic repository at $repository"
    # Another host may have made a shared repository meanwhile. The next command finds it.
    try_restic "$scratch/init" init || grep -q 'already' "$scratch/init.err" || fail "$code" "$said"
}

# compare_restored FOLDER ID: whether the restored files are, one by one, those of backup ID; sets said if they are not. They
# are as hostile as whoever could write them: a link could lead anywhere, and a read of a FIFO would never end.
compare_restored() {
    manifest=$state/backups/$2.manifest
    # A host that was built anew has no records, so the manifest in the backup is used.
    [ -f "$manifest" ] || manifest=$1$state/backup.d/manifest
    if [ ! -f "$manifest" ]; then
        said="backup $2 has no manifest to compare with"
        return 1
    fi
    [ -s "$manifest" ] || return 0
    if sum_restored "$1" "$manifest"; then
        restored_attributes "$1"
        return
    fi
    count=$(wc -l <"$scratch/differ")
    said="$count of $(wc -l <"$manifest") files are not as they were backed up: $(sed 's|^\./|/|; s|: FAILED open or read$| is missing|; s|: FAILED$| differs|; s|: FIFO$| is a FIFO|' "$scratch/differ" | head -n 3 | tr '\n' ',' | sed 's/,$//; s/,/, /g')"
    return 1
}

# restored_attributes FOLDER: compare what files of releases have besides their modes; sets said if it differs.
restored_attributes() {
    find "$1" -path "$1$home/releases/*/.slipway/attributes" -type f >"$scratch/attributes"
    while IFS= read -r attributes_file; do
        compare_attributes "${attributes_file%/.slipway/attributes}" >"$scratch/differ"
        [ -s "$scratch/differ" ] || continue
        said="${attributes_file#"$1"}: files have other capabilities, access lists or attributes than were staged: $(head -n 3 "$scratch/differ" | tr '\n' ' ' | cut -c1-200)"
        return 1
    done <"$scratch/attributes"
}

# sum_restored FOLDER MANIFEST: whether the files in a folder match a manifest. It follows no link. Files that do not match are
# listed in $scratch/differ.
sum_restored() {
    (cd "$1" && find . -type p) >"$scratch/fifos"
    if [ -s "$scratch/fifos" ]; then
        awk 'NR == FNR { fifo[$0]; next } substr($0, 67) in fifo { print substr($0, 67) ": FIFO" }' \
            "$scratch/fifos" "$2" >"$scratch/differ"
        [ ! -s "$scratch/differ" ] || return 1
    fi
    # shellcheck disable=SC2016
    no_links ro "$1" -- sh -c 'cd "$1" && exec sha256sum --check --quiet --strict "$2"' sh "$1" "$2" \
        >"$scratch/differ" 2>"$scratch/differ.err" && return 0
    [ $? -ne 125 ] || fail old-host "$no_view: $(said_by "$scratch/differ.err")"
    return 1
}

# need_room FOLDER BYTES: whether a file system has room for BYTES and a twentieth of its size, which others need; sets said if
# it has not. A sparse file counts with its full size, which it has after it is restored.
need_room() {
    free=$(df -Pk "$1" | awk 'NR == 2 { printf "%.0f", $4 - $2 / 20 }')
    [ "$free" -gt $(($2 / 1024)) ] && return 0
    said="restoring takes $(($2 / 1048576)) MB, and the file system of $1 has $((free / 1024)) MB and the twentieth that stays free"
    return 1
}
