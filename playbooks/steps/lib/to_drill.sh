# shellcheck shell=sh disable=SC2034,SC2154
# A release that is staged to be tried only: it goes to a drill's root directory, root, where drill_start.sh starts it, and
# nothing of it stays in the application's folder. Needs what stage.sh needs, root_only.sh and restored.sh.
#
# Nobody but root can enter the release yet, so its writable folders are as Slipway has made them. What was restored into root is
# hostile, and a release has run there. It may have handed an open folder to a process that still lives, which can put a link
# where that folder's owner may. So root writes only where the whole path is root's alone.

# require_drill: refuse a place to which the release cannot go, before anything is sent for long.
require_drill() {
    ! has_link "$release" || fail foreign-link "the backup has a link in the place of $home/releases, $why"
    [ -d "$root$home/releases" ] || fail not-in-backup "the backup has no $home/releases, so there is nothing to start a release in"
    require_root_only "$root$home/releases" slipway_backup.drill.folder
}

# clear_former_tries: remove what an earlier rehearsal has left in releases because the host lost its power. A deploy removes that,
# too.
clear_former_tries() {
    for tried in "$home"/releases/*/.slipway/tried; do
        tried=${tried%/.slipway/tried}
        if [ ! -e "$tried" ] || [ -e "$tried/.slipway/complete" ]; then continue; fi
        rm -rf "$tried" "$home/releases/.incoming.${tried##*/}".*
    done
}

# move_to_drill: copy the release there, and remove it here.
move_to_drill() {
    drill_kb=$(du -sk "$release" | cut -f1)
    drill_free=$(df -Pk "$root" | awk 'NR == 2 { printf "%.0f", $4 - $2 / 20 }')
    [ "$drill_free" -gt "$drill_kb" ] ||
        fail no-space "$root has room for $drill_free kB, and trying the release needs $drill_kb kB; slipway_backup.drill.folder names another place"
    # A copy: hard links would let the drilled release share files with the one that runs.
    cp -a --reflink=auto -- "$release" "$root$home/releases/" 2>"$incoming.err" ||
        fail_showing no-space 'the release cannot be copied to where it is tried' "$(cat "$incoming.err")"
    # As in drill.sh: the kernel starts no program with capabilities where none can be given. In each file's own folder: what a
    # drilled release has left may put a link in the place of a folder on the way.
    ! command -v setfattr >/dev/null ||
        find "$root$release" -type f -execdir setfattr --no-dereference --remove=security.capability -- {} + 2>/dev/null || :
    chmod 0755 "$root$release"
    # A shared folder that is new with this release is in no backup. Where it cannot be made, the release finds none.
    while IFS= read -r name; do
        find_foreign "$root$home/shared/$name"
        if [ -n "$foreign" ] || has_link "$home/shared/$name" || [ -e "$root$home/shared/$name" ]; then continue; fi
        (umask 022 && mkdir -p "$root$home/shared/$name")
        chown -h "$user:$group" "$root$home/shared/$name"
    done <"$meta/shared"
    clear_incoming
    rm -rf "$release"
}
