#!/bin/sh
# The floor: the same job by hand. One ssh a host, the artifact down the pipe, one script: keep the running release as a
# tar.gz, unpack the new one beside it, unit, rename, restart, wait for health, prune. No lock, no check, no way back.
# Usage: floor.sh ARTIFACT RELEASE APP PORT SSH-CONFIG HOST...
set -eu
artifact=$1
release=$2
app=$3
port=$4
config=$5
shift 5

# shellcheck disable=SC2016
remote='
set -eu
release=$1 app=$2 port=$3
home=/opt/$app-floor
mkdir -p "$home/releases/$release" "$home/backups"
[ ! -e "$home/current" ] || tar -czf "$home/backups/$release.tar.gz" -C "$home/current/" .
tar --zstd -xf - -C "$home/releases/$release"
cat >"/etc/systemd/system/$app-floor.service" <<UNIT
[Service]
WorkingDirectory=$home/current
ExecStart=$home/current/bin/run $port
User=www-data
[Install]
WantedBy=multi-user.target
UNIT
ln -sfn "releases/$release" "$home/current.new"
mv -T "$home/current.new" "$home/current"
systemctl daemon-reload
systemctl enable -q "$app-floor" 2>/dev/null
systemctl restart "$app-floor"
for _ in $(seq 100); do
    curl -sf "http://127.0.0.1:$port/VERSION" >/dev/null && break
    sleep 0.1
done
curl -sf "http://127.0.0.1:$port/VERSION" >/dev/null
ls -d "$home"/releases/* | sort -r | tail -n +6 | xargs -r rm -rf
ls "$home"/backups/* 2>/dev/null | sort -r | tail -n +6 | xargs -r rm -f
'
pids=
for host in "$@"; do
    ssh -F "$config" "$host" "sudo sh -c '$(printf '%s' "$remote" | sed "s/'/'\\\\''/g")' sh $release $app $port" <"$artifact" &
    pids="$pids $!"
done
status=0
for pid in $pids; do wait "$pid" || status=1; done
exit "$status"
