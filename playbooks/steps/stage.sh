# shellcheck shell=sh
# stage HOME RELEASE USER PLAN-BYTES FORMAT SHA256 ARTIFACT-BYTES URL FIRST
#
# Put a release beside the running one: nothing that serves is touched. Standard input: the plan (a tar archive, see
# playbooks/release.py), then the artifact, or where a URL is given what to fetch (see fetch.sh). A release is whole once it has
# .slipway/complete; anything else is rubbish, removed here on failure and by the next deploy after a crash.
home=$1
release=$home/releases/$2
user=$3
plan_bytes=$4
format=$5
sha256=$6
artifact_bytes=$7
url=$8
first=$9
meta=$release/.slipway
incoming=$home/releases/.incoming.$2

# shellcheck source=playbooks/steps/archive.sh
# include archive.sh
# include fetch.sh
# include hooks.sh
# include room.sh

id "$user" >/dev/null 2>&1 || fail no-user "there is no user '$user' to run the application; run: invoke provision --env=…"
group=$(id -g "$user")

undo() {
    status=$?
    trap - EXIT
    [ "$status" -eq 0 ] || last_words "$home"
    rm -rf "$incoming" "$incoming".*
    [ "$status" -eq 0 ] || rm -rf "$release"
    exit "$status"
}
# A full disk shows in any command that writes, so it is told from here.
explain_space() {
    free=$(df -Pk "$home" | awk 'NR == 2 { print $4 }')
    nodes=$(df -Pi "$home" | awk 'NR == 2 { print $4 }')
    if [ "$free" -lt 1024 ]; then fail no-space "the file system of $home is full (while: $1)"; fi
    if [ "$nodes" != - ] && [ "$nodes" -lt 16 ]; then fail no-inodes "the file system of $home has no inodes left (while: $1)"; fi
    fail "$2" "$3"
}

# Left by a deploy that was interrupted and is gone on with, or by our own step begun twice.
if [ -e "$release" ]; then
    [ "$(readlink "$home/current" 2>/dev/null || :)" != "releases/$2" ] || fail exists "release $2 runs already"
    rm -rf "$release"
fi
mkdir -p "$home/releases" "$home/shared" || explain_space 'making folders' unwritable "cannot write to $home"
chmod 0755 "$home" "$home/releases" "$home/shared"
trap undo EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$meta" || explain_space 'making folders' unwritable "cannot write to $home/releases"
chmod 0755 "$release"

head -c "$plan_bytes" >"$incoming.plan" || explain_space 'receiving the plan' unwritable "cannot write to $home/releases"
[ "$(stat -c %s "$incoming.plan")" -eq "$plan_bytes" ] || fail cut 'the plan did not arrive whole'
tar --extract --same-permissions --directory "$meta" --file "$incoming.plan" ||
    explain_space 'unpacking the plan' damaged-plan 'the plan did not arrive whole'

if [ -n "$url" ]; then
    fetch_artifact "$url" "$sha256" "$incoming" "$home/.fetched"
else
    free=$(df -Pk "$home" | awk 'NR == 2 { print $4 }')
    [ "$free" -gt $((artifact_bytes / 1024 + 1024)) ] ||
        fail no-space "$home has room for $free kB, the artifact alone takes $((artifact_bytes / 1024)) kB"
    head -c "$artifact_bytes" >"$incoming" ||
        explain_space 'receiving the artifact' unwritable "cannot write to $home/releases"
    [ "$(stat -c %s "$incoming")" -eq "$artifact_bytes" ] || fail cut 'the artifact did not arrive whole'
    echo "$sha256  $incoming" | sha256sum --check --status ||
        fail checksum "the artifact that arrived is not the one that was asked for: its SHA-256 is $(sha256sum <"$incoming" | cut -c1-64), expected $sha256"
fi

check_archive "$incoming" "$format" "$incoming.list"
free=$(df -Pk "$home" | awk 'NR == 2 { print $4 }')
# shellcheck disable=SC2154
[ "$free" -gt $((archive_kb + 1024)) ] ||
    fail no-space "$home has room for $free kB, the artifact unpacked takes $archive_kb kB"
unpack_archive "$incoming" "$format" "$release" 2>"$incoming.err" ||
    explain_space 'unpacking' unpack "cannot unpack the artifact: $(tr '\n' ' ' <"$incoming.err" | cut -c1-200)"
rm -f "$incoming" "$incoming".*

# inside FOLDER NAME: the application's user owns folders on the way, and may have put a link there that leads out of it.
inside() {
    place=$1
    rest=$2/
    while [ -n "$rest" ]; do
        place=$place/${rest%%/*}
        rest=${rest#*/}
        if [ -L "$place" ] && [ "$(stat -c %u "$place")" != 0 ]; then
            fail hostile-link "$place is a link that is not root's; remove it, or the setting"
        fi
    done
}
# Configuration lies over the artifact's own files: what the inventory says counts.
while IFS= read -r name; do
    mkdir -p "$(dirname "$release/$name")"
    rm -rf "${release:?}/$name"
    mv "$meta/files/$name" "$release/$name"
done <"$meta/config"
rm -rf "$meta/files"
while IFS= read -r name; do
    inside "$home/shared" "$name"
    mkdir -p "$home/shared/$name" "$(dirname "$release/$name")"
    chown -h "$user:$group" "$home/shared/$name"
    [ -L "$home/shared/$name" ] || chmod 0750 "$home/shared/$name"
    rm -rf "${release:?}/$name"
    ln -s "$home/shared/$name" "$release/$name"
done <"$meta/shared"

# The application reads its release and writes nothing in it, so that it stays what its manifest says; hooks of the
# install moment are where it is made, and may write.
chown -Rh "$user:$group" "$release"
chown -R root:root "$meta"
chmod 0700 "$meta"
chmod -R u+rwX,g+rX,go-w,-t "$release"
run_hooks "$release" install "$user" "$first"
chown -Rh "root:$group" "$release"
chown -R root:root "$meta"
chmod -R go-w,g+rX,u-s,g-s "$release"
chmod 0700 "$meta"
while IFS= read -r name; do
    inside "$release" "$name"
    mkdir -p "$release/$name"
    chown -Rh "$user:$group" "$release/$name"
done <"$meta/writable"

# A unit is checked as it will be, with the new release in place of the current one.
check_units() {
    [ -d "$meta/unit-files" ] || return 0
    scratch=$(mktemp -d "$home/releases/.incoming.$2.units.XXXXXX")
    for unit in "$meta/unit-files"/*.service; do
        name=${unit##*/}
        link=/etc/systemd/system/$name
        if [ -e "$link" ] && [ "$(readlink "$link")" != "$home/current/.slipway/unit-files/$name" ]; then
            fail unit-taken "$link is there already and is not ours; move it away, or name the service differently"
        fi
        sed "s|$home/current|$release|g" "$unit" >"$scratch/$name"
        set -- "$@" "$scratch/$name"
        if [ -d "$unit.d" ]; then cp -r "$unit.d" "$scratch/$name.d"; fi
    done
    shift 2
    systemd-analyze verify --man=no --recursive-errors=no "$@" >"$scratch/said" 2>&1 || {
        said=$(sed "s|$scratch/||g; s|$release|$home/current|g" "$scratch/said" | head -n 5 | tr '\n' ' ' | cut -c1-600)
        fail bad-unit "systemd does not accept the unit: $said"
    }
    while IFS= read -r line; do note "unit: ${line#"$scratch/"}"; done <"$scratch/said"
    rm -rf "$scratch"
}
check_units x "$2"

# What belongs to the release, file by file: rollback and the backup drill compare with it.
(
    cd "$release" || exit 1
    find . -path ./.slipway -prune -o -type l -printf '%p -> %l\n' | sort >"$meta/links"
    skip() { sed 's|^|./|' "$meta/writable"; }
    find . -type f ! -path "./.slipway/manifest*" -print0 | sort -z | xargs -0 -r sha256sum >"$meta/manifest.new"
    if [ -s "$meta/writable" ]; then
        skip | awk 'NR == FNR { writable[$0]; next } { for (w in writable) if (index(substr($0, 67), w) == 1) next; print }' \
            - "$meta/manifest.new" >"$meta/manifest"
        rm "$meta/manifest.new"
    else
        mv "$meta/manifest.new" "$meta/manifest"
    fi
)
# On disk before it is called complete: a host that loses power has a whole release or none.
sync -f "$release"
: >"$meta/complete"
sync "$meta/complete" "$meta"
emit staged "$(wc -l <"$meta/manifest")" "$archive_kb"
