# shellcheck shell=sh disable=SC2034
# drill_start HOME STATE FOLDER RELEASE USER APP COMMAND URL STATUS TIMEOUT
#
# Prove a backup, second part: start the restored release on a spare port and wait for its answer. It sees what was
# restored at the very paths that the real one has, in place of the real things: so what a release was built for (the
# path of a virtual environment, say) is as it was, and nothing it writes reaches the data of the running application.
# Standard input: the environment, NAME US VALUE US . a line; then "data PATH" in the same form.
home=$1
state=$2
folder=$3
release=$4
user=$5
app=$6
command=$7
url=$8
status=$9
shift 9
timeout=$1

need curl
root=$folder/root
place=$home/releases/$release
unit=slipway-$app-drill-release.service
us=$(printf '\037')
problem() { emit problem "$1"; }

if [ ! -d "$root$place" ]; then
    problem "release $release is not in what was restored"
    exit 0
fi
id "$user" >/dev/null 2>&1 || fail no-user "there is no user '$user' to run the application; run: invoke provision --env=…"

# A name of systemd's own kind: words are split at blanks and colons, and a backslash takes that meaning away.
escape() { printf '%s' "$1" | sed "s/[\\\\:\"' ]/\\\\&/g"; }
set -- --property="BindPaths=$(escape "$root$home"):$(escape "$home")"
: >"$folder/work/environment"
while IFS=$us read -r kind key value _; do
    case $kind in
        env)
            # systemd.exec(5), EnvironmentFile=: in double quotes these four have a meaning.
            printf '%s="%s"\n' "$key" "$(printf '%s' "$value" | sed 's/[\\"$`]/\\&/g')" >>"$folder/work/environment"
            ;;
        data)
            [ ! -d "$root$key" ] || set -- "$@" --property="BindPaths=$(escape "$root$key"):$(escape "$key")"
            ;;
    esac
done
ln -sfn "releases/$release" "$root$home/current"

# No tool for it is sure to be there: the kernel's own list of what is listened on, ports in hexadecimal.
spare_port() {
    awk '$4 == "0A" { sub(/.*:/, "", $2); print $2 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null >"$folder/work/ports" || :
    for candidate in $(shuf -i 20000-32000 -n 50); do
        grep -qxF "$(printf '%04X' "$candidate")" "$folder/work/ports" || break
    done
    printf '%s' "$candidate"
}
port=$(spare_port)
printf 'PORT=%s\nRELEASE="%s"\n' "$port" "$place" >>"$folder/work/environment"
address=$(printf '%s' "$url" | sed "s/{port}/$port/g")
began=$(date +%s)
systemctl reset-failed "$unit" 2>/dev/null || :
# It ends by itself should nobody be left to end it.
if ! systemd-run --quiet --collect --unit="$unit" --uid="$user" --gid="$(id -gn "$user")" "$@" \
    --property="WorkingDirectory=$place" --property="EnvironmentFile=$folder/work/environment" \
    --property=PrivateTmp=yes --property=RuntimeMaxSec="$((timeout + 600))" --property=TimeoutStopSec=10 \
    -- /bin/sh -c "$(printf '%s' "$command" | sed 's/\$/$$/g')" 2>"$folder/work/run.err"; then
    problem "the restored release cannot be started: $(tr '\n' ' ' <"$folder/work/run.err" | cut -c1-200)"
    exit 0
fi
while :; do
    got=$(curl --globoff --silent --max-time 5 --output /dev/null --write-out '%{http_code}' -- "$address") || :
    if [ "$got" = "$status" ] && systemctl is-active --quiet "$unit"; then
        emit started "$port"
        break
    fi
    if [ "$(date +%s)" -ge $((began + timeout)) ] || ! systemctl is-active --quiet "$unit"; then
        how="answers $got, expected $status"
        [ "$got" != 000 ] || how="does not answer"
        systemctl is-active --quiet "$unit" || how='is not there: the command ended'
        # What it said last is the reason, and may not be written yet.
        journalctl --sync 2>/dev/null || :
        log=$(journalctl "_SYSTEMD_UNIT=$unit" --since="@$began" --lines=8 --output=cat --no-pager 2>/dev/null | tr '\n' '|' | cut -c1-400)
        problem "the restored release $how ($address); its log: ${log:-empty}"
        break
    fi
    sleep 0.2
done
systemctl stop "$unit" 2>/dev/null || :
