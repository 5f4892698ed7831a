# shellcheck shell=sh disable=SC2034,SC2154
# restore: put back a release, or everything, from the backup id.
# needs: home state user id snapshot repository what target bytes
#
# what "release": put release target back at its place by one rename, complete and compared with its own manifest.
# what "files": restore the whole snapshot (bytes) into the new folder target, and compare it with the backup's manifest.
# That folder has mode 0700 and only root can change it, because restic makes files and changes owners by name, as root, and
# because a backup holds secrets.

# include fingerprint.sh
# include discard.sh
# include disk_space.sh
# include restic.sh
# include names.sh
# include programs.sh
# include release_links.sh

require_stamped backup "$id"
[ "$what" = files ] || require_stamped release "$target"
payload_line() { :; }
require_programs "$user"
need restic
mkdir -p "$state"
scratch=$(mktemp -d "$state/restore.XXXXXX")
coming=
trap '[ ! -d "$coming" ] || discard "$coming"; rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
read_payload

if [ "$what" = files ]; then
    require_root_only "$target" 'what is restored'
    if [ -e "$target" ] && { [ ! -d "$target" ] || [ -n "$(ls -A "$target")" ]; }; then
        fail not-empty "$target is there already and is not an empty folder; nothing was restored"
    fi
    mkdir -p "$target" 2>"$scratch/err" || fail unwritable "cannot make $target: $(said_by "$scratch/err")"
    chmod 0700 "$target"
    need_room "$target" "$bytes" || fail no-space "$said"
    try_restic "$scratch/answer" restore "$snapshot" --target "$target" ||
        fail "$code" "$said; what could be restored is in $target"
    compare_restored "$target" "$id" || fail damaged "$said; they are in $target"
    emit restored "$(find "$target" -type f | wc -l)" "$target"
    exit 0
fi

# Nobody can enter the folder until its files match the manifest and are in place. So nobody changes what the user could write
# in the release (a link, a FIFO) meanwhile.
require_root_only "$home/releases" slipway_path
place=$home/releases/$target
coming=$home/releases/.incoming.restore.$target
discard "$coming"
mkdir -p "$coming" 2>"$scratch/err" || fail unwritable "cannot write to $home/releases: $(said_by "$scratch/err")"
run_restic "$scratch/answer" restore "$snapshot" --target "$coming" --include "$place"
meta=$coming$place/.slipway
[ -f "$meta/manifest" ] || fail not-in-backup "backup $id does not hold release $target"
sum_restored "$coming$place" "$meta/manifest" ||
    fail damaged "release $target in backup $id is not what was staged: $(head -n 3 "$scratch/differ" | tr '\n' ' ')"
{ compare_links "$coming$place" && compare_attributes "$coming$place"; } >"$scratch/differ"
[ ! -s "$scratch/differ" ] ||
    fail damaged "release $target in backup $id is not what was staged: $(head -n 3 "$scratch/differ" | tr '\n' ' ')"
keep_print "$coming$place"
: >"$meta/complete"
sync -f "$coming"
# A damaged release at that place may be the running one, so it is moved aside by a rename and removed afterwards.
[ ! -e "$place" ] || mv -T "$place" "$coming/damaged"
mv -T "$coming$place" "$place"
sync "$home/releases"
emit restored "$(wc -l <"$place/.slipway/manifest")" "$place"
