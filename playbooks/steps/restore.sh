# shellcheck shell=sh disable=SC2034
# restore HOME STATE SNAPSHOT REPOSITORY ID WHAT TARGET
#
# WHAT "release": put release TARGET back at its place, whole, compared with its own manifest, by one rename.
# WHAT "files": restore everything of the snapshot into the new folder TARGET, compared with the backup's manifest.
home=$1
state=$2
snapshot=$3
repository=$4
id=$5
what=$6
target=$7

# include restic.sh

payload_line() { :; }
need restic
scratch=$(mktemp -d "$state/restore.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
read_payload

compare() { # the manifest's paths are those of the snapshot
    sed "s|  /|  $1/|" "$state/backups/$id.manifest" >"$scratch/manifest"
    said=$(sha256sum --check --quiet --strict "$scratch/manifest" 2>&1) ||
        fail damaged "what was restored is not what was backed up: $(printf '%s\n' "$said" | head -n 3 | tr '\n' ' ')"
}

if [ "$what" = files ]; then
    if [ -e "$target" ] && [ -n "$(ls -A "$target" 2>/dev/null)" ]; then
        fail not-empty "$target is there already and is not empty; nothing was restored"
    fi
    mkdir -p "$target"
    run_restic "$scratch/answer" restore "$snapshot" --target "$target"
    compare "$target"
    emit restored "$(find "$target" -type f | wc -l)" "$target"
    exit 0
fi

place=$home/releases/$target
coming=$home/releases/.incoming.restore.$target
rm -rf "$coming"
mkdir -p "$home/releases" "$coming"
trap 'rm -rf "$scratch" "$coming"' EXIT
run_restic "$scratch/answer" restore "$snapshot" --target "$coming" --include "$place"
[ -f "$coming$place/.slipway/manifest" ] || fail not-in-backup "backup $id does not hold release $target"
(
    cd "$coming$place" || exit 1
    sha256sum --check --quiet --strict .slipway/manifest >"$scratch/said" 2>&1
) || fail damaged "release $target in backup $id is not what was staged: $(head -n 3 "$scratch/said" | tr '\n' ' ')"
: >"$coming$place/.slipway/complete"
sync -f "$coming"
# A damaged one that stands there may be the running one: it moves aside by a rename, and is removed after.
[ ! -e "$place" ] || mv -T "$place" "$coming/damaged"
mv -T "$coming$place" "$place"
emit restored "$(wc -l <"$place/.slipway/manifest")" "$place"
