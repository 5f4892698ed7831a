# shellcheck shell=sh disable=SC2034,SC2154
# What every step that talks to restic shares; it needs disk_space.sh, $state, $repository and a private folder $scratch. A step
# that lets restic read what others can change sets restic_views: folders, a line each, in which it follows no link (see
# no_links.sh), and restic_limit: seconds, since whoever puts a FIFO in its way would stop it for good.
#
# Standard input: lines "kind US field… US ." (US is \037). "secret NAME VALUE" is restic's environment, read here; every
# other line is left to the step's own function payload_line. No password is ever in a command line or a file, nor in the
# environment of anything but restic.

# include root_only.sh
# include no_links.sh
# include attributes.sh

us=$(printf '\037')
secrets=
lock_patience=60
restic_views=
restic_limit=
no_view='this host cannot read what other users can change without following their links, which takes Linux 5.10 and util-linux 2.37'

read_payload() {
    whole=no
    while IFS= read -r line; do
        set -f
        IFS=$us
        # shellcheck disable=SC2086
        set -- $line
        unset IFS
        set +f
        case $1 in
            secret) secrets=$secrets$2=$3$newline ;;
            end) whole=yes ;;
            *) payload_line "$@" ;;
        esac
    done
    # With half of its lines it would be a backup of half.
    [ "$whole" = yes ] || fail cut 'the instructions for this backup did not arrive whole'
    # restic makes and removes files there by name, as root.
    case $repository in /*) require_root_only "$repository" 'the restic repository' ;; esac
}

# said_by FILE: what a program complained of, as one line.
said_by() { grep -v -e '^{' -e '^ *$' "$1" | tail -n 4 | tr -s '\n\t ' '   ' | cut -c1-300; }

# Not even our lock of backups is restic's: one that hangs, or what it starts, would hold it after us.
restic_with_secrets() (
    exec 8>&-
    set -f
    IFS=$newline
    # In /tmp others use up the room for its temporary files.
    export RESTIC_REPOSITORY="$repository" TMPDIR="$scratch"
    # A cache of a repository on this very host is only a second copy of it.
    case $repository in
        /*) set -- --no-cache "$@" ;;
        *) set -- --cache-dir "$state/cache" "$@" ;;
    esac
    if [ -z "$restic_views" ]; then
        for pair in $secrets; do export "${pair?}"; done
        exec restic "$@"
    fi
    # What makes the view is not restic, and gets no secret: they come by standard input to the shell that becomes restic.
    # shellcheck disable=SC2016,SC2086
    printf '%s' "$secrets" | no_links - $restic_views -- timeout --signal=INT --kill-after=10 "$restic_limit" \
        sh -c 'while IFS= read -r pair; do export "$pair"; done; exec restic "$@" </dev/null' sh "$@"
)

# try_restic OUTPUT ARGUMENT...: run restic, its answer in a file. On failure the status is restic's own, and code and
# said tell it. A lock left by a killed restic is removed (restic itself tells a stale one from a live one); a live one,
# say another host's that prunes the same repository, is waited for.
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

# restic tries a read that failed again for a quarter of an hour. That is right for a network, but a pack on this host's
# own disk that is cut short stays so: after a few tries it is ended.
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

# explain_restic COMMAND TEXT: restic before 0.17 has one exit status for nearly everything, so its words are read.
explain_restic() {
    code=restic said="restic $1 failed: $2"
    if [ "$restic_status" -eq 125 ] && [ -n "$restic_views" ]; then
        code=old-host said="$no_view: $2"
        return
    fi
    # Ended by us (timeout(1)): it has removed its lock, unless it hung.
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

# make_repository: at its first use. Where records say that it held backups it must be there: a silent new one would hide
# that they are all gone.
make_repository() {
    for record in "$state"/backups/*.json; do
        if [ -f "$record" ] && [ "$(jq -r .repository "$record")" = "$repository" ]; then
            fail no-repository "the restic repository $repository is gone, though backup $(basename "$record" .json) was made in it"
        fi
    done
    note "making a restic repository at $repository"
    # Another host may have made a shared one in between: then the next command finds it.
    try_restic "$scratch/init" init || grep -q 'already' "$scratch/init.err" || fail "$code" "$said"
}

# compare_restored FOLDER ID: whether what was restored there is, file by file, what backup ID held; else said tells. What is
# restored is as hostile as who could write it: a link in it could lead anywhere, and a FIFO would be waited at for good.
compare_restored() {
    manifest=$state/backups/$2.manifest
    # A host that was built anew has no records; the backup brings its own.
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

# restored_attributes FOLDER: the same for what files of releases have beside their modes.
restored_attributes() {
    find "$1" -path "$1$home/releases/*/.slipway/attributes" -type f >"$scratch/attributes"
    while IFS= read -r attributes_file; do
        compare_attributes "${attributes_file%/.slipway/attributes}" >"$scratch/differ"
        [ -s "$scratch/differ" ] || continue
        said="${attributes_file#"$1"}: files have other capabilities, access lists or attributes than were staged: $(head -n 3 "$scratch/differ" | tr '\n' ' ' | cut -c1-200)"
        return 1
    done <"$scratch/attributes"
}

# sum_restored FOLDER MANIFEST: whether the files in it are what a manifest says, without following a link. What is not goes
# to $scratch/differ.
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

# need_room FOLDER BYTES: whether a file system has room for that and a twentieth of all of it, which others need to live;
# else said tells. A sparse file of the user's counts whole: restored, it is.
need_room() {
    free=$(df -Pk "$1" | awk 'NR == 2 { printf "%.0f", $4 - $2 / 20 }')
    [ "$free" -gt $(($2 / 1024)) ] && return 0
    said="restoring takes $(($2 / 1048576)) MB, and the file system of $1 has $((free / 1024)) MB and the twentieth that stays free"
    return 1
}
