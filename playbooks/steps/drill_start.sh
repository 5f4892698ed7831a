# shellcheck shell=sh disable=SC2034,SC2154
# drill_start: prove a backup, second part: start the restored release on a spare port and wait for its answer.
# needs: app home user folder release command url status timeout
#
# It runs in a root directory of its own, which has the restored files at the paths of the real ones and, read-only, /usr and
# those files of /etc that programs need. So paths that a release was built for (such as a virtual environment's) are as they
# were, and nothing that the release writes reaches the data of the running application.
#
# What was restored is hostile, because whoever wrote the data chose its names, links and modes. So there is no link in the
# source of a mount (only root can change folder, so that stays true). The destination is in a root directory that this step
# makes, with its own links only. The release has no privilege and no way to get one.
#
# Standard input: lines in the form KIND US VALUE US .; "env NAME VALUE" for the environment, "data PATH" for data, "read PATH"
# for a path of the host that the release may also read, "socket PATH" for the folder of a database's socket, if it exists.

# include escape.sh
# include listeners.sh
# include output.sh
# include root_only.sh
# include restored.sh
# include programs.sh

require_programs "$user"
need curl
root=$folder/root
tree=$folder/tree
place_of=$home/releases/$release
unit=slipway-$app-drill-release.service
us=$(printf '\037')
problem() { emit problem "$1"; }

require_root_only "$folder" slipway_backup.drill.folder
if ! find_restored "$place_of" || [ "$at" != "$place_of" ] || [ ! -d "$root$place_of" ]; then
    problem "release $release is not in what was restored"
    exit 0
fi
id "$user" >/dev/null 2>&1 || fail no-user "there is no user '$user' to run the application; run: invoke provision --env=…"

# read_only PATH WHAT: show a path of the host. It is enough that nobody else can put a link on the way, because everything in
# it can be read on the host, too.
read_only=
read_only() {
    [ -e "$1" ] || fail no-path "$1 ($2) is not there"
    find_foreign "$1"
    if [ -n "$foreign" ] && [ "$foreign" != "$place" ]; then
        fail not-roots "$1 ($2) can be replaced by $(stat -c %U "$foreign"), who may change $foreign; name a path of root's alone"
    fi
    read_only="$read_only $(escape "$place"):$(escape "$1")"
}

shown=$home$newline
: >"$folder/work/environment"
while IFS=$us read -r kind key value _; do
    case $kind in
        env)
            # These four have a meaning in double quotes; see systemd.exec(5), EnvironmentFile=.
            printf '%s="%s"\n' "$key" "$(printf '%s' "$value" | sed 's/[\\"$`]/\\&/g')" >>"$folder/work/environment"
            ;;
        data)
            # The data is in the backup under the path in the settings, or under the path to which root's links lead.
            if ! find_restored "$key"; then
                problem "$key is not shown to the restored release: the backup has a link there, $why"
            elif [ -e "$root$at" ]; then
                shown=$shown$at$newline
            fi
            ;;
        read) read_only "$key" slipway_backup.drill.read_only ;;
        socket) [ ! -d "$key" ] || read_only "$key" 'the socket of a database' ;;
    esac
done

# Make the root directory. A folder below another one that is shown is in it already, so no destination is in restored files.
rm -rf "$tree"
umask 022
mkdir "$tree" "$tree/etc" "$tree/usr" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/run" "$tree/tmp" "$tree/var" "$tree/var/tmp"
ln -s ../run "$tree/var/run"
for top in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$top" ]; then
        ln -s "$(readlink "/$top")" "$tree/$top"
    elif [ -d "/$top" ]; then
        read_only="$read_only /$top"
    fi
done
umask 077
set --
while IFS= read -r one; do
    [ -n "$one" ] || continue
    while IFS= read -r other; do
        case $one in "${other:-/}"/*) continue 2 ;; esac
    done <<EOF
$shown
EOF
    set -- "$@" --property="BindPaths=$(escape "$root$one"):$(escape "$one")"
done <<EOF
$shown
EOF
# Programs need names, certificates, paths of libraries, the alternatives to which links in /usr/bin lead, and the settings of
# languages.
for name in alternatives ca-certificates crypto-policies fonts gai.conf group host.conf hostname hosts ld.so.cache ld.so.conf \
    ld.so.conf.d localtime mime.types nsswitch.conf os-release passwd perl pki/ca-trust pki/tls/certs pki/tls/cert.pem \
    pki/tls/openssl.cnf protocols resolv.conf services ssl/certs ssl/openssl.cnf timezone; do
    [ ! -e "/etc/$name" ] || read_only="$read_only /etc/$name"
done
for name in /etc/java* /etc/python3* /run/systemd/journal/dev-log /run/systemd/journal/socket /run/systemd/journal/stdout; do
    [ ! -e "$name" ] || read_only="$read_only $name"
done
ln -sfnT "releases/$release" "$root$home/current"

# spare_port: print a port on which nobody listens. It reads the kernel's own list, which has ports in hexadecimal, because no
# tool for this is sure to be installed.
spare_port() {
    awk '$4 == "0A" { sub(/.*:/, "", $2); print $2 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null >"$folder/work/ports" || :
    for candidate in $(shuf -i 20000-32000 -n 50); do
        grep -qxF "$(printf '%04X' "$candidate")" "$folder/work/ports" || break
    done
    printf '%s' "$candidate"
}
port=$(spare_port)
# Set the same values also under names that no file of the application has, because a command that reads such a file gets the
# file's PORT.
printf '%s=%s\n' PORT "$port" DRILL_PORT "$port" RELEASE "\"$place_of\"" DRILL_RELEASE "\"$place_of\"" >>"$folder/work/environment"
address=$(printf '%s' "$url" | sed "s/{port}/$port/g")
# Neither URL nor command is in a command line, because everybody on the host can read that, and they may hold a secret.
printf 'url = "%s"\n' "$(printf '%s' "$address" | sed 's/[\\"]/\\&/g')" >"$folder/work/address"
printf '%s\n' "$command" >"$folder/work/command"
began=$(date +%s)
systemctl reset-failed "$unit" 2>/dev/null || :
for property in NoNewPrivileges=yes CapabilityBoundingSet= AmbientCapabilities= RestrictSUIDSGID=yes RestrictNamespaces=yes \
    SystemCallArchitectures=native LockPersonality=yes MountAPIVFS=yes PrivateTmp=yes PrivateDevices=yes ProtectProc=invisible \
    ProtectKernelTunables=yes ProtectKernelModules=yes ProtectKernelLogs=yes ProtectControlGroups=yes ProtectClock=yes; do
    set -- "$@" --property="$property"
done
# The unit has a time limit, so that it ends even if this step dies.
# shellcheck disable=SC2016
if ! systemd-run --quiet --collect --unit="$unit" --uid="$user" --gid="$(id -gn "$user")" \
    --property="RootDirectory=$tree" --property="BindReadOnlyPaths=/usr$read_only" "$@" \
    --property="WorkingDirectory=$place_of" --property="EnvironmentFile=$folder/work/environment" \
    --property=RuntimeMaxSec="$((timeout + 600))" --property=TimeoutStopSec=10 --property="StandardInput=file:$folder/work/command" \
    -- /bin/sh -c 'command=$$(cat) && exec </dev/null && eval "$$command"' 2>"$folder/work/run.err"; then
    tell_output "$(cat "$folder/work/run.err")"
    problem "the restored release cannot be started${last_line:+: $last_line}"
    exit 0
fi
# is_its_own ADDRESS PORT FROM: whether the release itself answered. Any user of the host may take the port before it does.
is_its_own() {
    case $1 in
        127.* | ::1 | "$3") ;;
        *) return 0 ;;
    esac
    find_stranger "$1" "$2" ' ' "$unit"
    [ -z "$stranger" ] && [ "$listened" = yes ]
}
stranger=
while :; do
    got=$(curl --disable --globoff --silent --max-time 5 --output /dev/null --write-out '%{http_code} %{remote_ip} %{remote_port} %{local_ip}' \
        --config "$folder/work/address") || :
    read -r got at at_port from <<END_OF_ANSWER
$got
END_OF_ANSWER
    if [ "$got" = "$status" ] && is_its_own "$at" "$at_port" "$from" && systemctl is-active --quiet "$unit"; then
        emit started "$port"
        break
    fi
    if [ "$(date +%s)" -ge $((began + timeout)) ] || ! systemctl is-active --quiet "$unit"; then
        how="answers $got, expected $status"
        [ "$got" != 000 ] || how="does not answer"
        [ -z "$stranger" ] || how="does not listen at its port, a program of $stranger does"
        systemctl is-active --quiet "$unit" || how='is not there: the command ended'
        advice=
        case " $command" in
            *[\;\&\ ]'. '* | *[\;\&\ ]'source '*) advice=". Where a file that slipway_backup.drill.command reads sets PORT, say PORT=\$DRILL_PORT after it" ;;
        esac
        # The last lines of the log are the reason, and may not be written yet.
        journalctl --sync 2>/dev/null || :
        # If it gets a time, journalctl counts lines from there, so tail(1) picks the last ones.
        log=$(journalctl "_SYSTEMD_UNIT=$unit" --since="@$began" --lines=10000 --output=cat --no-pager 2>/dev/null | tail -n 8 | cut -c1-200)
        problem "the restored release $how ($address); its log is $([ -n "$log" ] && echo below || echo empty). Of the host it sees /usr and a little of /etc; what else it reads, slipway_backup.drill.read_only names$advice"
        while IFS= read -r line; do [ -z "$line" ] || emit log "$line"; done <<END_OF_LOG
$log
END_OF_LOG
        break
    fi
    sleep 0.2
done
systemctl stop "$unit" 2>/dev/null || :
