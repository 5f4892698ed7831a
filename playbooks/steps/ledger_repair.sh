# shellcheck shell=sh disable=SC2154
# ledger_repair: begin the repair of a ledger by recording it. aside "-": at its end, which closes a torn line. Else the
# ledger is put aside under that name, and a new one begins with the hash of the old.
# needs: state record aside

# include append.sh

give_up() {
    reason=$(why_not)
    rm -f "$ledger.new"
    fail unwritable "the new ledger could not be written, the old one is as it was: $reason"
}

begin_anew() (
    open_ledger "$state"
    [ ! -e "$state/$aside" ] || fail there "$state/$aside is there already; run it again"
    old=$(sha256sum <"$ledger")
    printf '{"prev":"start","replaces":"%s","kept":"%s",%s\n' "${old%% *}" "$aside" "${record#\{}" \
        2>/dev/null >"$ledger.new" || give_up
    sync "$ledger.new" 2>/dev/null || give_up
    # Linked, not moved: at no instant is there no ledger.
    ln "$ledger" "$state/$aside" || fail unwritable "cannot make $state/$aside"
    mv -f "$ledger.new" "$ledger"
    sync "$state"
)

if [ "$aside" = - ]; then
    append_record "$state" "$record"
else
    begin_anew
fi
tip=$(tail -n 1 "$state/ledger" | sha256sum)
emit tip "${tip%% *}"
