# shellcheck shell=sh disable=SC2154
# include disk_space.sh

# append_record STATE RECORD: add a record (one JSON object on one line) to the ledger, on disk when this returns.
#
# Each line begins {"prev":"H", H being the SHA-256 of the line before with its newline, or "start": a line that is
# changed, taken out or put in shows. A line that a crash tore stays where it is, closed by " #torn"; the next record
# says "healed":true, and its H is over the last whole line and all that was torn after it: tearing hides nothing.
# A shell of its own: no variable, and no lock, of the ledger's gets into the step. It ends the step when it fails; after
# "append_record … || …" the step goes on. It answers what the line begins with and how many bytes stand before it.
#
# A signed record that the last line is already is not written twice: a step whose answer was lost is begun again.
append_record() (
    case $2 in
        *"$newline"* | [!\{]* | '{}' | '') fail record 'the record is no JSON object on one line' ;;
    esac
    open_ledger "$1"
    read_tip
    case $2 in
        *'"signature":'*)
            case $last in
                *",${2#\{}$newline.") exit 0 ;;
            esac
            ;;
    esac
    [ "$healed" = no ] || healed='"healed":true,'
    [ "$healed" != no ] || healed=
    printf '{"prev":"%s",%s%s\n' "$tip" "$healed" "${2#\{}" 2>/dev/null >>"$ledger" || take_back
    settle
    emit appended "$tip" "$healed" "$offset"
)

# open_ledger STATE: lock the ledger until settle. The folder is locked and not the file, because a repair renames the file.
open_ledger() {
    ledger=$1/ledger
    [ -d "$1" ] || mkdir -p "$1" || fail unwritable "cannot make $1"
    exec 7<"$1"
    flock -w 60 7 || fail busy "somebody else has been writing $1/ledger for a minute; see: lsof $1"
    fresh=no
    if [ ! -e "$ledger" ]; then
        true 2>/dev/null >>"$ledger" || fail unwritable "cannot write $ledger: $(why_not)"
        fresh=$1
    fi
    [ -f "$ledger" ] || fail unwritable "$ledger is no file; move it away and look at what it is"
    size=$(stat -c %s "$ledger")
}

# show_controls: every control character but newline as one that case and grep can find; the length stays.
show_controls() { tr '\000-\011\013-\037' '[\001*]'; }

# read_tip: set tip and healed, which the next record must carry; last, the last line if it is a record; offset, the number of
# bytes before the next record. A record is an argument, which has at most half of 262144 bytes.
read_tip() {
    tip=start
    healed=no
    last=
    offset=$size
    [ "$size" -gt 0 ] || return 0
    last=$(tail -c 262144 "$ledger" | tail -n 1 | show_controls && echo .)
    case $last in
        *"$newline.") ;;
        *)
            printf ' #torn\n' 2>/dev/null >>"$ledger" || take_back
            offset=$((size + 7))
            last=
            heal
            return
            ;;
    esac
    case $last in
        *"$(printf '\001')"*) heal ;;
        '{"prev":"'*"}$newline.")
            tip=$(printf '%s' "${last%.}" | sha256sum)
            tip=${tip%% *}
            ;;
        *) heal ;;
    esac
}

# heal: set tip if the last line is no record. That is rare, so this may read the whole file.
heal() {
    healed=yes
    whole=$(show_controls <"$ledger" | LC_ALL=C grep -ab "^{\"prev\":\"[^$(printf '\001')]*}\$" | tail -n 1 | cut -d : -f 1)
    tip=$(tail -c "+$((${whole:-0} + 1))" "$ledger" | sha256sum)
    tip=${tip%% *}
}

# take_back: remove a record that could be written only in part.
take_back() {
    reason=$(why_not)
    truncate -s "$size" "$ledger" 2>/dev/null || :
    fail unwritable "the record could not be written into $ledger: $reason"
}

why_not() {
    if lacks_room "${ledger%/*}"; then
        echo "$said"
    else
        echo 'its file system refuses it; see: dmesg'
    fi
}

settle() {
    sync "$ledger" 2>/dev/null || take_back
    [ "$fresh" = no ] || sync "$fresh"
}
