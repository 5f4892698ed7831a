# shellcheck shell=sh disable=SC2016,SC2034,SC2154
# The application's user opens its SQLite databases, as they are. Root would read a database that the user cannot, write its
# -wal and -shm files, follow the links that lead to it, and run what its schema says. Needs as_user.sh, $home, $user, and
# sqlite_limit: the number of seconds that one database may take.
#
# The user works in a folder below $home that is made for this, and may do there whatever it likes: only a pipe leads to root,
# who reads no more than there is room for, and no longer than the limit.
# include discard.sh

# open_sqlite_place NAME: make that folder.
open_sqlite_place() {
    id "$user" >/dev/null 2>&1 || fail no-user "there is no user '$user' to read SQLite databases; run: invoke provision --env=…"
    require_root_only "$home" slipway_path
    [ -d "$home" ] || (umask 022 && mkdir -p "$home")
    sqlite_place=$home/.sqlite-$1
    close_sqlite_place
    # The folder is new, and only root can change the one around it, so nobody can have put anything else there.
    mkdir -m 0700 "$sqlite_place" && chown "$user" "$sqlite_place"
}

# close_sqlite_place: remove that folder. Only root can rename it.
close_sqlite_place() { [ -z "${sqlite_place-}" ] || [ ! -d "$sqlite_place" ] || discard "$sqlite_place"; }

# take_sqlite PATH COPY: write a consistent copy of a database to COPY. On failure the status is 1, and code and said tell why.
take_sqlite() {
    # A sixteenth of the free space is left for what root itself writes.
    sqlite_most=$(df -Pk "$scratch" | awk 'NR == 2 { printf "%.0f", $4 * 960 }')
    rm -f "$2" "$2.told"
    # The output is 512 bytes on the result, then the copy. The user who opens the file also looks at its type. If the file
    # becomes something else afterwards, that is opened as the user, too, and within the limit.
    as_user_for "$sqlite_limit" "$user" sh -c '
        LC_ALL=C
        tell() { printf "%-512.512s" "$*"; }
        if ! [ -e "$1" ]; then
            way=${1%/*}
            while [ -n "$way" ] && ! [ -e "$way" ]; do way=${way%/*}; done
            tell closed "${way:-/}"
            exit 1
        fi
        [ -f "$1" ] || { tell type "$(stat -Lc %F -- "$1")"; exit 1; }
        [ -r "$1" ] || { tell unreadable; exit 1; }
        cd "$2" || exit 1
        why=$(sqlite3 -cmd ".timeout 10000" "$1" ".backup copy" 2>&1 >/dev/null) ||
            {
                # In WAL mode SQLite makes two files beside a database, even to read it (sqlite.org/wal.html).
                if [ "$(od -An -tu1 -j 18 -N 1 -- "$1" 2>/dev/null | tr -d " ")" = 2 ] && ! [ -w "${1%/*}" ]; then
                    tell wal
                else
                    tell failed "$(printf %s "$why" | tr -s "\n\t " "   ")"
                fi
                exit 1
            }
        [ -s copy ] || [ ! -s "$1" ] || { tell empty; exit 1; }
        [ -e copy ] || : >copy
        tell ok "$(stat -c %s copy)"
        exec cat copy' sh "$1" "$sqlite_place" </dev/null 2>/dev/null |
        timeout --kill-after=5 "$sqlite_limit" sh -c 'head -c 512 >"$1.told"; exec head -c "$2" >"$1"' \
            sh "$2" "$sqlite_most" 8>&- 2>/dev/null || :
    sqlite_told=$(tr -d '\0' <"$2.told" 2>/dev/null | sed 's/ *$//') || :
    code=sqlite
    case $sqlite_told in
        'ok '*)
            sqlite_size=${sqlite_told#ok }
            [ "$(stat -c %s "$2")" != "$sqlite_size" ] || return 0
            said="the copy of SQLite database $1 broke off"
            case $sqlite_size in *[!0-9]* | '' | ????????????????*) return 1 ;; esac
            if [ "$sqlite_size" -gt "$sqlite_most" ]; then
                code=no-space said="the file system of $scratch is full (while copying SQLite database $1)"
            fi
            ;;
        'type '*) code=sqlite-type said="$1 is to be backed up as a SQLite database, and is no file but a ${sqlite_told#type }" ;;
        'closed '*) code=sqlite-closed said="$user, whom the application runs as, cannot reach SQLite database $1: it may not look into ${sqlite_told#closed }" ;;
        wal) code=sqlite-wal said="$user, whom the application runs as, cannot copy SQLite database $1: it is in WAL mode, and SQLite cannot make its -wal and -shm files in ${1%/*}, where that user may not write" ;;
        unreadable) said="$user, whom the application runs as, cannot read SQLite database $1; it is copied as that user" ;;
        empty) said="the copy of SQLite database $1 is empty" ;;
        'failed '*)
            said="$user cannot copy SQLite database $1: $(printf '%s' "${sqlite_told#failed }" | cut -c1-300)"
            case $said in *full*) code=no-space said="the file system of $home is full (while copying SQLite database $1)" ;; esac
            ;;
        *) said="copying SQLite database $1 did not end within $sqlite_limit s" ;;
    esac
    return 1
}

# judge_sqlite COPY: print what SQLite says about a copy that belongs to root; "ok" if it is whole.
judge_sqlite() {
    timeout --kill-after=5 "$sqlite_limit" cat "$1" 2>/dev/null 8>&- |
        as_user_for "$sqlite_limit" "$user" sh -c 'cd "$1" && cat >copy && exec sqlite3 copy "pragma integrity_check" 2>&1' \
            sh "$sqlite_place" 2>/dev/null |
        timeout --kill-after=5 "$sqlite_limit" head -c 1000 8>&- >"$scratch/judged" || :
    tr -d '\0' <"$scratch/judged" | head -n 3 | tr '\n' ' ' | sed 's/ *$//'
}
