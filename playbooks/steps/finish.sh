# shellcheck shell=sh disable=SC2154
# finish: write the record into the ledger, mark the release (proven, failed, discarded or -), and after a success prune old
# ones, of which it keeps so many.
# needs: home state keep record mark release

# include append.sh
# include discard.sh
# include find_current.sh
# include slots.sh
# include names.sh
# include own_release.sh
# shellcheck disable=SC2034
limit=60

remove() {
    require_stamped release "$1"
    leave_slot "$1"
    # Remove the mark "complete" first, so that a half-removed release does not look complete.
    rm -f "$home/releases/$1/.slipway/complete"
    # Its writable folders belong to the application's user.
    discard "$home/releases/$1"
    rm -rf "$home/releases/.incoming.$1".*
    emit pruned "$1"
}

is_kept() {
    case $newline$kept in
        *"$newline$1/"*) return 0 ;;
        *) return 1 ;;
    esac
}

# is_backed_up RELEASE: whether a backup of this host has it.
is_backed_up() { cat "$state"/backups/*.json 2>/dev/null | grep -qF "\"release\":\"$1\""; }

# Failed and incomplete releases are removed first, then the oldest proven ones beyond the number to keep. The running release
# and its predecessor stay, because a rollback needs them; the predecessor is removed if only one is to be kept and a backup
# has it. Folders that Slipway did not make stay.
prune() {
    find_current
    before=
    [ ! -f "$home/current/.slipway/predecessor" ] || read -r before <"$home/current/.slipway/predecessor" || :
    kept=
    [ ! -f "$home/current/.slipway/slot" ] || kept=$(units_in_slots)
    count=0
    # Names that are further in the future than clocks differ come last, so that they are removed first.
    latest=$(date -u -d '+1 day' +%Y%m%d%H%M%S)
    now=
    future=
    for folder in "$home/releases"/*; do
        if ! is_stamped "${folder##*/}" || ! is_own_release "$folder" || [ -e "$folder/.slipway/adopted" ]; then continue; fi
        folder=${folder##*/}
        moment=${folder%%Z*}
        # Put the newest first.
        if [ "${moment%T*}${moment#*T}" -gt "$latest" ]; then future="$folder $future"; else now="$folder $now"; fi
    done
    for folder in $now $future; do
        if [ "$folder" = "$before" ] && [ "$keep" -eq 1 ] && ! is_kept "$folder" && is_backed_up "$folder"; then
            remove "$folder"
        elif [ "$folder" = "$current" ] || [ "$folder" = "$before" ]; then
            count=$((count + 1))
        elif is_kept "$folder" && [ -f "$home/releases/$folder/.slipway/proven" ]; then
            : # In its slot.
        elif [ -f "$home/releases/$folder/.slipway/proven" ] && [ ! -f "$home/releases/$folder/.slipway/failed" ]; then
            count=$((count + 1))
            [ "$count" -le "$keep" ] || remove "$folder"
        else
            remove "$folder"
        fi
    done
    for left in "$home/releases"/.incoming.*; do [ ! -e "$left" ] || discard "$left"; done
    # Remove what is left of fetched artifacts; see fetch.sh.
    rm -rf "$home/.fetched"
}

if [ "$mark" = discarded ]; then
    [ "$(readlink "$home/current" 2>/dev/null || :)" = "releases/$release" ] || remove "$release"
elif [ "$mark" != - ] && [ -d "$home/releases/$release/.slipway" ]; then
    : >"$home/releases/$release/.slipway/$mark"
    # A failed attempt to return to a proven release does not mark it as failed.
    if [ "$mark" = proven ] && [ -e "$home/releases/$release/.slipway/failed" ]; then rm "$home/releases/$release/.slipway/failed"; fi
    sync "$home/releases/$release/.slipway"
fi
append_record "$state" "$record"
if [ "$mark" = proven ]; then
    forget_units_back
    prune
fi
emit recorded
