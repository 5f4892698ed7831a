# shellcheck shell=sh
# result UNIT ANSWER SECONDS: how a step went whose connection broke; waits for its end. Changes nothing.
unit=$1
answer=$2
seconds=$3

while :; do
    case $(systemctl show --property=ActiveState --value "$unit.service") in
        active | activating | deactivating | reloading) ;;
        *) break ;;
    esac
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
