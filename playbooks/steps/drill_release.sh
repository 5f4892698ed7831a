# shellcheck shell=sh disable=SC2034
# drill_release HOME STATE ID SNAPSHOT REPOSITORY RELEASE USER APP URL STATUS TIMEOUT
#
# Prove a backup of an application host: check the repository, restore the snapshot into a scratch place, compare every
# file with the manifest, check SQLite copies, start the restored release on a spare port. Then remove all of it.
# Standard input, see restic.sh: secret NAME VALUE; env NAME VALUE; command TEXT.
home=$1
state=$2
id=$3
snapshot=$4
repository=$5
release=$6
user=$7
app=$8
url=$9
shift 9
status=$1
timeout=$2

# include restic.sh
# include drill_repository.sh

need restic curl
# Below the application's folder, not below ours: its user must be able to reach the release it starts.
drill=$home/.drill
scratch=$drill/scratch
unit=slipway-drill-$app.service
clean() {
    systemctl stop "$unit" 2>/dev/null || :
    systemctl reset-failed "$unit" 2>/dev/null || :
    rm -rf "$drill"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM
clean # what a killed drill left
mkdir -p "$scratch"
chgrp "$(id -g "$user")" "$drill"
chmod 0710 "$drill"
command=
set --
payload_line() {
    case $1 in
        env) printf '%s=%s\n' "$2" "$3" >>"$scratch/environment" ;;
        command) command=$2 ;;
    esac
}
: >"$scratch/environment"
read_payload
began=$(date +%s)

spare_port() {
    for candidate in $(shuf -i 20000-32000 -n 20); do
        [ -n "$(ss -Hltn "sport = :$candidate")" ] || { echo "$candidate" && return; }
    done
}

start_release() {
    place=$drill/root$home/releases/$release
    # The way to the release: folders that only root could enter would stop the application's user.
    way=$place
    while [ "$way" != "$drill/root" ]; do
        way=$(dirname "$way")
        chmod o+x "$way"
    done
    port=$(spare_port)
    printf 'PORT=%s\nRELEASE=%s\n' "$port" "$place" >>"$scratch/environment"
    address=$(printf '%s' "$url" | sed "s/{port}/$port/g")
    systemd-run --quiet --collect --unit="$unit" --uid="$user" --property=WorkingDirectory="$place" \
        --property=EnvironmentFile="$scratch/environment" --property=Restart=no -- /bin/sh -c "$command" || {
        problem 'the restored release cannot be started'
        return
    }
    deadline=$(($(date +%s) + timeout))
    while :; do
        got=$(curl --globoff --silent --max-time 5 --output /dev/null --write-out '%{http_code}' -- "$address") || :
        [ "$got" != "$status" ] || break
        if [ "$(date +%s)" -ge "$deadline" ] || ! systemctl is-active --quiet "$unit"; then
            log=$(journalctl --unit="$unit" --lines=5 --output=cat --no-pager | tr '\n' '|' | cut -c1-500)
            problem "the restored release is not healthy: $address answered $got, expected $status; its log: $log"
            return
        fi
        sleep 0.3
    done
    emit started "$port"
}

check_repository || :
if tried "$scratch/restore" restore "$snapshot" --target "$drill/root"; then
    chmod 0711 "$drill/root"
    sed "s|  /|  $drill/root/|" "$state/backups/$id.manifest" >"$scratch/manifest"
    sha256sum --check --quiet --strict "$scratch/manifest" >"$scratch/said" 2>&1 ||
        problem "$(grep -c FAILED "$scratch/said" || :) files differ from the manifest: $(head -n 3 "$scratch/said" | sed "s|$drill/root||g" | tr '\n' ' ')"
    emit compared "$(wc -l <"$scratch/manifest")"
    for copy in "$drill/root$state/backup.d/sqlite"/*; do
        [ -f "$copy" ] || continue
        said=$(sqlite3 "$copy" 'pragma integrity_check' 2>&1 | head -n 1)
        [ "$said" = ok ] || problem "SQLite copy $(basename "$copy"): $said"
    done
    if [ -n "$command" ] && [ "$release" != - ]; then start_release; fi
fi
emit seconds "$(($(date +%s) - began))"
