# shellcheck shell=sh disable=SC2154 # what archive.sh sets
# archives FOLDER FREE-KB: check and unpack FOLDER/*/archive into FOLDER/*/tree, each as stage.sh does it, in a shell of
# its own. Read behind prelude.sh and archive.sh. What it answers goes to FOLDER/*/answer, its status to FOLDER/*/status.
folder=$1
free=$2

one() {
    read -r format <"$1/format"
    (ulimit -f $((free * 2)) && decompress "$format" <"$1/archive" >"$1/tar" 2>"$1/err") || broken_archive "$1/err"
    check_archive "$1/tar" "$1/list"
    [ "$free" -gt $((archive_kb + 1024)) ] || fail no-space "no room for $archive_kb kB"
    unpack_archive "$1/tar" "$1/tree" 2>"$1/err" ||
        fail_showing unpack 'cannot unpack the artifact' "$(cat "$1/err")"
    emit accepted
}

for place in "$folder"/*/; do
    place=${place%/}
    set +e
    (
        set -e
        one "$place"
    ) >"$place/answer" 2>"$place/said"
    echo $? >"$place/status"
    set -e
done
