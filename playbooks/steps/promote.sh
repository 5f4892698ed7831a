# shellcheck shell=sh disable=SC2034,SC2154
# promote: let the stage that is held here go on. The deploy reads it at its next look (signals.sh).
#
# It takes no lock, because the deploy has it. A dead deploy's file does not count: the deploy that wrote it must hold the lock.
# needs: state who
run=/run/slipway/${state#/var/lib/slipway/}

# include read_lock_owner.sh

read_holder
id=
stage=
[ ! -s "$run/held" ] || IFS="$tab" read -r id stage <"$run/held" || :
case $holder in
    *"\"id\": \"${id:-?}\""*)
        put_line "$run/promoted" "$id$tab$who$tab$stage"
        emit promoted "$stage" "$holder"
        ;;
    *) emit busy "$holder" ;;
esac
