# shellcheck shell=sh disable=SC2154
# result: how a step went whose connection broke; waits for its end. Changes nothing but that a unit which waits for a step
# that will never come is ended.
# needs: unit answer seconds

while [ ! -f "$answer/status" ]; do
    case $(systemctl show --property=ActiveState --value "$unit.service") in
        active | activating | deactivating | reloading) ;;
        *) break ;;
    esac
    if [ ! -d "$answer" ]; then
        # What is under way on the old connection must not begin after we have begun it again.
        systemctl stop "$unit.service" 2>/dev/null || :
        break
    fi
    if [ "$seconds" -le 0 ]; then
        emit step running
        exit 0
    fi
    sleep 0.2
    ticks=$((${ticks:-0} + 1))
    [ $((ticks % 5)) -ne 0 ] || seconds=$((seconds - 1))
done
if [ -f "$answer/status" ]; then
    emit step "ended $(cat "$answer/status")"
    cat "$answer/out"
elif [ -d "$answer" ]; then
    emit step killed
else
    emit step never
fi
