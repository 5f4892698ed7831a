#!/bin/sh
# crowd.sh BASE FOLDER: many sshd without hosts behind them, in namespaces of their own. What they see as / is the lab's
# base tree under a layer in memory, so that they cannot read or change this machine's /etc/ssh, keys or users.
# FOLDER has an sshd_config for each sshd (at most 16 addresses each: sshd's own limit), host_key and authorized_keys.
# Started by unshare: the mounts end with the last of its processes, and those end with it.
set -eu
base=$1
folder=$2
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder/layer"
mkdir "$folder/layer/upper" "$folder/layer/work" "$folder/layer/root"
root=$folder/layer/root
mount -t overlay crowd -o "lowerdir=$base,upperdir=$folder/layer/upper,workdir=$folder/layer/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mkdir -p "$root/run/sshd" "$root/etc/crowd"
cp "$folder/host_key" "$folder/authorized_keys" "$folder"/sshd_config.* "$root/etc/crowd/"
chmod 700 "$root/etc/crowd"
for config in "$root"/etc/crowd/sshd_config.*; do
    chroot "$root" /usr/sbin/sshd -f "/etc/crowd/${config##*/}"
done
echo ready
# Until whoever started us closes our standard input, or is gone.
cat >/dev/null
