# shellcheck shell=sh disable=SC2034,SC2154
# backup: back up what this host has, as one restic snapshot and one record.
# needs: app home state user host kind id release version repository covers when haste limit
#
# That is the running release (release, or "-"), named data, SQLite copies and databases. Standard input, see
# restic.sh: secret NAME VALUE; path P; exclude P; sqlite P; database NAME HOST PORT USER PASSWORD; and how a database is backed up, see
# backup_methods.sh. covers is a key that changes when the settings name other data. when "after": the backup follows a successful
# deploy, nobody waits for it, and requests come first. haste "quickly": a deploy waits for it. user is the application's user.
# limit is the number of seconds that restic may take, and each SQLite database.
#
# Others change what is read here meanwhile. So restic reads in a view without links (data_paths.sh), the application's own user
# copies SQLite databases (sqlite.sh), and this step only looks at everything else. It writes only in $state, which only root
# can enter.

# include disk_space.sh
# include restic.sh
# include as_user.sh
# include sqlite.sh
# include data_paths.sh
# include postgres.sh
# include backup_methods.sh
# include compare_release.sh
# include names.sh
# include programs.sh

# These become names of files and tags of restic, in which a comma would end a tag.
require_stamped backup "$id"
[ "$release" = - ] || require_stamped release "$release"
require_stamped backup "20000101T000000Z-$version"
scratch=$state/backup.d
ours=
clean_up() {
    status=$?
    trap - EXIT
    [ "$status" -eq 0 ] || last_words "$state" "$repository"
    [ -z "$ours" ] || { close_sqlite_place; rm -rf "$scratch"; }
    # The next deploy makes a backup before anything else, and reports what is wrong. Until then, status reports it.
    if [ "$when" = after ] && [ "$status" -ne 0 ]; then
        printf '%s\n' "${slipway_line#error"$tab"*"$tab"}" 2>/dev/null >"$state/backup.failed" || :
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
require_programs "$user"
need restic jq flock
began=$(date +%s.%N)
mkdir -p "$state/backups"
if [ "$when" = after ]; then stand_back 19; else stand_back 10; fi
# A backup whose controller died may still be at work in the scratch folder. All backups use the same one, because restic
# recognizes files by their paths.
exec 8>>"$state/backup.lock"
patience=120
[ "$when" != after ] || patience=2
flock -w "$patience" 8 || fail locked 'another backup is at work on this host'
# A backup with this id is another one, or this one, if the step was sent again after the connection was lost.
if [ -e "$state/backups/$id.json" ]; then
    [ "$when" != after ] || { emit begun && exit 0; }
    fail exists "there is a backup $id already, made in the same second; try again"
fi
ours=yes
rm -rf "$scratch"
mkdir -p "$scratch/databases" "$scratch/sqlite"
: >"$scratch/paths"
: >"$scratch/excludes"
: >"$scratch/patterns"
: >"$scratch/manifest"

# as_pattern PATH: print a pattern that matches only PATH. In a file of patterns restic reads $NAME as a variable, $$ as a
# dollar.
as_pattern() { printf '%s' "$1" | sed 's/[][*?\\]/\\&/g; s/\$/$$/g'; }

# add_excludes: apply slipway_backup.exclude, which leaves out data only. Every file of a release is backed up, except those in
# folders that the application writes, because a rollback needs all of them.
add_excludes() {
    [ -s "$scratch/patterns" ] || return 0
    {
        printf '%s' "$data_paths"
        [ ! -s "$home/releases/$release/.slipway/writable" ] || sed "s|^|$home/releases/$release/|" "$home/releases/$release/.slipway/writable"
    } >"$scratch/data"
    while IFS= read -r pattern; do
        below=
        while IFS= read -r path; do
            case $home/releases/$release/ in
                "${path%/}"/*)
                    [ "$release" = - ] ||
                        fail bad-exclude "$path of slipway_backup.paths has the releases in it, which are backed up whole; name folders of data there, to use slipway_backup.exclude"
                    ;;
            esac
            case $pattern in
                /*) case $pattern in "${path%/}"/*) below=$below$(as_dollars "$pattern")$newline ;; esac ;;
                *) below="$below$(as_pattern "${path%/}")/**/$(as_dollars "$pattern")$newline" ;;
            esac
        done <"$scratch/data"
        [ -n "$below" ] || [ "$release" = - ] || case $pattern in
            /*) fail bad-exclude "$pattern of slipway_backup.exclude is in none of the folders of data: $(tr '\n' ' ' <"$scratch/data")" ;;
        esac
        printf '%s' "$below" >>"$scratch/excludes"
    done <"$scratch/patterns"
}
as_dollars() { printf '%s' "$1" | sed 's/\$/$$/g'; }

payload_line() {
    case $1 in
        path) add_path "$2" ;;
        exclude) printf '%s\n' "$2" >>"$scratch/patterns" ;;
        sqlite) copy_sqlite "$2" ;;
        database)
            shift
            use_database "$@"
            back_up_database
            ;;
        method | option | variable | owner) method_line "$@" ;;
        check) ;;
        *) fail usage "unknown line '$1'" ;;
    esac
}

# A missing path is a mistake in the settings, or its data is lost; before the first deploy it is neither.
is_there() {
    [ -e "$1" ] && return 0
    [ "$release" = - ] || fail no-path "$1 is to be backed up and is not there"
    return 1
}

add_path() {
    ! is_there "$1" || add_data "$1" || fail foreign-link "$why"
}

# has_data FOLDER: whether anything but folders is in it. A first deploy makes empty ones while this step is at work.
has_data() {
    [ -e "$1" ] && [ -n "$(timeout --kill-after=5 "$look_seconds" find -H "$1" ! -type d -print -quit 2>/dev/null || echo late)" ]
}

copy_sqlite() {
    is_there "$1" || return 0
    # A copy below such a link could not be put back, because in a drill the link may lead anywhere.
    refuse_users_link "${1%/*}" 'the place that is meant in slipway_backup.sqlite' || fail foreign-link "$why"
    need sqlite3
    [ -n "${sqlite_place-}" ] || open_sqlite_place backup
    if ! take_sqlite "$1" "$scratch/copy"; then
        told=$said
        ! lacks_room "$state" || fail no-space "$said (while copying SQLite database $1)"
        fail "$code" "$told"
    fi
    # The copy is a new file of root's in a folder of root's. It gets this mode and not the live file's, which the user
    # controls.
    chown "$user:$(id -g "$user")" "$scratch/copy"
    chmod 0640 "$scratch/copy"
    mkdir -p "$scratch/sqlite$(dirname "$1")"
    mv -T "$scratch/copy" "$scratch/sqlite$1"
    # The live file may be in the middle of a change, so only the copy is backed up. If a link of root's leads to the live file,
    # it is excluded by both its names.
    find_foreign "$1"
    for live in "$1" "$place"; do
        literal=$(as_pattern "$live")
        printf '%s\n' "$literal" "$literal-wal" "$literal-shm" "$literal-journal" >>"$scratch/excludes"
    done
}

# back_up_database: make a backup of the selected database by its method. What the method must keep goes into the snapshot.
back_up_database() {
    method_in_settings
    "${method}_create" "$scratch/databases/$name" "$id" "$haste"
    cat "$scratch/entry.json" >>"$scratch/databases.json"
}

# release_as_it_is RELEASE: print the release's manifest. If somebody changed files by hand, print a manifest of the files as
# they are now, because the backup holds these. The record lists the changes.
release_as_it_is() {
    if is_untouched "$1" || ! compare_release "$1" look >"$scratch/changed" || [ ! -s "$scratch/changed" ]; then
        cat "$1/.slipway/manifest"
        return 0
    fi
    (
        cd "$1" || exit 1
        # A line that begins with a backslash has an escaped name, and stays as it was staged. A drill reports it if the file
        # differs.
        grep '^[\]' .slipway/manifest || :
        grep -v '^[\]' .slipway/manifest | cut -c67- | while IFS= read -r file; do
            if [ -f "$file" ] && [ ! -L "$file" ]; then printf '%s\0' "$file"; fi
        done | xargs -0 -r sha256sum
    )
}

: >"$scratch/databases.json"
: >"$scratch/changed"
sqlite_limit=$limit
# Nobody waits for a backup after a deploy, and it has a low priority, so it may take longer over large things.
patient_limit=$limit
[ "$when" != after ] || patient_limit=$((limit * 12))
# A dump may take four fifths of the time of the step, which is twice the limit.
database_limit=$((patient_limit * 8 / 5))
read_payload
close_sqlite_place
if [ "$release" != - ]; then
    [ -f "$home/releases/$release/.slipway/manifest" ] || fail no-release "release $release is incomplete on this host"
    printf '%s\n' "$home/releases/$release" >>"$scratch/paths"
    release_as_it_is "$home/releases/$release" >"$scratch/release.manifest"
    # Lines are "HASH  ./name". A line that begins with a backslash has an escaped name. The prefix stays as it is.
    awk -v at="$home/releases/$release" '{ dot = index($0, "./"); print substr($0, 1, dot - 1) "." at substr($0, dot + 1) }' \
        "$scratch/release.manifest" >>"$scratch/manifest"
fi
if [ "$kind" = application ]; then
    if [ "$release" != - ] || has_data "$home/shared"; then add_shared || fail foreign-link "$why"; fi
    [ "$release" = - ] || add_release "$home/releases/$release"
    settle_data
    printf '%s' "$data_paths" >>"$scratch/paths"
    add_excludes
fi
# A file that is changed while it is read, or within the same tick of the clock, must not count as backed up.
data=
if [ "$when" = after ]; then
    emit begun
    sleep 1
fi
if [ "$release" != - ]; then
    # Each line is one path and becomes one argument.
    set -- "$home/releases/$release"
    while IFS= read -r path; do [ "$path" = "$1" ] || set -- "$@" "$path"; done <"$scratch/paths"
    if is_untouched "$1" && [ -z "$(timeout --kill-after=5 "$look_seconds" \
        find -H "$@" -path "$1/.slipway" -prune -o -newerct '-1 seconds' -print -quit || [ $? -lt 124 ] || echo late)" ]; then
        data=$(fingerprint "$@")
    fi
fi
(cd / && find ".$scratch/databases" ".$scratch/sqlite" -type f -exec sha256sum {} +) >>"$scratch/manifest"
if ! [ -s "$scratch/paths" ] && ! [ -s "$scratch/manifest" ]; then
    emit nothing
    exit 0
fi
# The manifest is in the backup, too, so that the repository alone is enough to prove the backup when its host is gone.
printf '%s\n' "$scratch/databases" "$scratch/sqlite" "$scratch/manifest" >>"$scratch/paths"

restic_views=$data_views
restic_limit=$patient_limit
snapshot() {
    set -- --host "$host" --tag slipway --tag "app=$app" --tag "id=$id" --exclude-file "$scratch/excludes"
    [ "$release" = - ] || set -- "$@" --tag "release=$release"
    # Every release has a path of its own, so restic by itself would find nothing to compare with, and would read all data
    # again.
    last=$(find "$state/backups" -name '*.json' -printf '%f\n' | sort | tail -n 1)
    if [ -n "$last" ] && [ "$(jq -r .repository "$state/backups/$last")" = "$repository" ]; then
        try_restic "$scratch/answer" backup --json --quiet --files-from-verbatim "$scratch/paths" "$@" \
            --parent "$(jq -r .snapshot "$state/backups/$last")" && return 0
        # The parent is gone from the repository.
        grep -q 'invalid id' "$scratch/answer.err" || return "$restic_status"
    fi
    # Read all data: a snapshot that restic finds by itself may be of another host that uses the same repository.
    try_restic "$scratch/answer" backup --json --quiet --files-from-verbatim "$scratch/paths" --force "$@"
}

# Files may come and go while data is read. Only a file that still exists and could not be read is a failure.
explain_incomplete() {
    jq -r 'select(.message_type == "error") | .item // empty' "$scratch/answer.err" >"$scratch/unread" 2>/dev/null || return 1
    [ -s "$scratch/unread" ] || return 1
    while IFS= read -r item; do
        [ ! -e "$item" ] || fail incomplete "the backup could not read $item: $(grep '^{' "$scratch/answer.err" | head -n 1 | cut -c1-200)"
    done <"$scratch/unread"
}

case $repository in
    /*) [ -f "$repository/config" ] || make_repository ;;
esac
if ! snapshot; then
    if [ "$code" = no-repository ]; then
        make_repository
        snapshot || fail "$code" "$said"
    elif [ "$restic_status" -eq 3 ]; then
        explain_incomplete || fail "$code" "$said"
    else
        fail "$code" "$said"
    fi
fi
summary=$(grep '"message_type":"summary"' "$scratch/answer" | tail -n 1)
[ -n "$summary" ] || fail restic 'restic gave no summary; is it a version other than 0.12 to 0.18?'
# restic before 0.17 reports only the first eight digits of the snapshot's id. The whole id is a checksum: whoever shares the
# repository can make another snapshot with the same eight digits in minutes, but none with the same id.
whole=$(printf '%s' "$summary" | jq -r .snapshot_id)
for found in "$repository/snapshots/$whole"*; do [ ! -f "$found" ] || whole=$(basename "$found"); done
if [ "${#whole}" -lt 64 ] && try_restic "$scratch/named" snapshots --json --no-lock "$whole"; then
    # shellcheck disable=SC2016
    whole=$(jq -r --arg own "$whole" --arg tag "id=$id" \
        '[.[] | select((.id | startswith($own)) and ((.tags // []) | index($tag))) | .id] | if length == 1 then .[0] else "" end' \
        "$scratch/named")
    [ -n "$whole" ] || fail damaged 'the snapshot that was just made is not the only one of its name: who else has the password?'
fi
(cd "$scratch/sqlite" && find . -type f -printf '%P\n') | sed 's|^|/|' >"$scratch/sqlite.names"
replace_file "$state/backups/$id.manifest" <"$scratch/manifest"
jq --compact-output --null-input --arg id "$id" --arg host "$host" --arg kind "$kind" --arg release "${release#-}" \
    --arg version "$version" --arg covers "$covers" --arg data "$data" --arg repository "$repository" --arg snapshot "$whole" --argjson summary "$summary" --argjson began "$began" \
    --argjson ended "$(date +%s.%N)" \
    --slurpfile databases "$scratch/databases.json" --rawfile sqlite "$scratch/sqlite.names" --rawfile changed "$scratch/changed" '{id: $id,
    created: ($ended | floor | todate), host: $host, kind: $kind, release: (if $release == "" then null else $release end),
    version: $version, snapshot: $snapshot, repository: $repository, covers: $covers, data: $data, bytes: $summary.total_bytes_processed,
    files: $summary.total_files_processed, added: $summary.data_added, databases: $databases,
    sqlite: ($sqlite | split("\n") | map(select(. != ""))),
    changed: ($changed | split("\n") | map(select(. != "") | split("\t")[1:] | join(" ") | .[0:300]) | unique | .[0:50]), seconds: (($ended - $began) * 100 | round / 100)}' |
    replace_file "$state/backups/$id.json"
rm -f "$state/backup.failed"
emit record "$(cat "$state/backups/$id.json")"
