"""Build the base tree that all hosts share: Debian by debootstrap, built once and never changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from pathlib import Path

from lab.files import remove_tree
from lab.shell import run, say
from lab.spec import root
from playbooks.core.errors import UsageError

RELEASE = "bookworm"
PACKAGES = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "sudo",
    "python3",
    "python3-venv",
    "curl",
    "jq",
    "restic",
    "zstd",
    "xz-utils",
    "rsync",
    "ca-certificates",
    "attr",
    "cron",
    "sqlite3",
    "postgresql",
    "postgresql-client",
    "pgbouncer",
    "pgbackrest",
    "redis-server",
    "haproxy",
    "nginx-light",
    "socat",
    "openssl",
    "iproute2",
    "procps",
    "less",
    "nftables",
    "prometheus",
    "certbot",
    # certbot depends on these by a virtual package's name, which debootstrap does not resolve.
    "python3-cffi-backend",
    "pebble",
]
NEEDED = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
}
LIMITS = {"fs/inotify/max_user_instances": 8192, "kernel/keys/maxkeys": 20000, "kernel/keys/root_maxkeys": 1000000}
# These units are disabled here; a host's role enables the ones that it needs.
OFF = ("haproxy", "nginx", "postgresql", "pgbouncer", "redis-server", "prometheus")
SETUP = """
set -eu
useradd --create-home --shell /bin/bash deploy
echo 'deploy ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/deploy
chmod 0440 /etc/sudoers.d/deploy
cat >/etc/ssh/sshd_config.d/lab.conf <<EOF
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
EOF
rm -f /etc/ssh/ssh_host_* /etc/machine-id
: >/etc/machine-id
# It fails at boot on an overlay, now and then, and has nothing to do there.
ln -sf /dev/null /etc/systemd/system/systemd-remount-fs.service
mkdir -p /etc/systemd/network
ln -sf /lib/systemd/system/systemd-networkd.service /etc/systemd/system/multi-user.target.wants/systemd-networkd.service
# These run at each login, and at each reload of systemd, for what no host of a lab has.
sed -i '/pam_motd/d' /etc/pam.d/sshd
mkdir -p /etc/systemd/system-generators
for what in cryptsetup debug getty gpt-auto hibernate-resume integritysetup rc-local run system-update sysv \\
    veritysetup; do
    ln -s /dev/null "/etc/systemd/system-generators/systemd-$what-generator"
done
rm -rf /var/cache/apt/archives/*.deb /usr/share/doc/* /usr/share/man/*
# Of the web pages of Prometheus, which nobody opens here: 220 MB.
rm -rf /usr/share/javascript /usr/share/nodejs
"""


# The build has its own namespaces, so that its processes and mounts end with this process, even if it is killed.
ALONE = ("setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--mount-proc", "--fork", "--kill-child")


def require_machine() -> None:
    """Make sure that this machine can run a lab; as root on Debian, install missing packages.

    Raises:
        UsageError: it cannot; the message says what is missing.
    """
    if os.geteuid() != 0:
        raise UsageError(
            "a lab needs root: it mounts file systems and starts systemd-nspawn", hint="sudo -E invoke lab.up"
        )
    if not sys.platform.startswith("linux"):
        raise UsageError("a lab needs Linux: its hosts are systemd-nspawn containers")
    if not _has_overlay():
        raise UsageError("a lab needs overlayfs, which this kernel does not have")
    missing = sorted({package for program, package in NEEDED.items() if shutil.which(program) is None})
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise UsageError(
            f"a lab needs {', '.join(missing)}, and this machine has no apt-get",
            hint=f"on Debian: apt-get install {' '.join(missing)}",
        )
    say(f"installing {' '.join(missing)}")
    environment = "DEBIAN_FRONTEND=noninteractive"
    run(["env", environment, "apt-get", "update", "-qq"])
    run(["env", environment, "apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing])


def _has_overlay() -> bool:
    """Return whether the kernel has overlayfs; a module is listed only after it is loaded."""
    listed = Path("/proc/filesystems")
    if "overlay" not in listed.read_text(encoding="utf-8") and shutil.which("modprobe"):
        run(["modprobe", "--quiet", "overlay"], ok=(0, 1))
    return "overlay" in listed.read_text(encoding="utf-8")


def raise_limits() -> None:
    """Raise the kernel's limits for all hosts. About twenty hosts use up the default of 128 inotify instances,
    and then units on the next host fail to start without a reason in the log."""
    for name, least in LIMITS.items():
        limit = Path("/proc/sys") / name
        if limit.is_file() and int(limit.read_text()) < least:
            with contextlib.suppress(OSError):  # not allowed inside a container; a small lab works without it
                limit.write_text(f"{least}\n")


def base_tree() -> Path:
    """Return the base tree, and build it if this version does not exist yet.

    The build happens beside the final place and ends with a rename, so a killed build leaves no incomplete base.
    """
    place = _place()
    if place.is_dir():
        return place
    root().mkdir(parents=True, exist_ok=True)
    coming = place.with_name(f"{place.name}.coming")
    remove_tree(coming)
    say(f"building the base tree, once: {RELEASE} with {len(PACKAGES)} packages (a minute or two)")
    run([*ALONE, "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE, str(coming)])
    run([*ALONE, "chroot", str(coming), "/bin/sh", "-c", SETUP])
    run(["chroot", str(coming), "systemctl", "disable", "certbot.timer"])
    for service in OFF:
        run(["chroot", str(coming), "systemctl", "disable", f"{service}.service"])
    coming.rename(place)
    return place


def remove_other_bases() -> None:
    """Remove every base tree except this version's, and the remains of killed builds."""
    for folder in root().glob("base-*"):
        if folder != _place():
            say(f"removing {folder}: nothing needs it any more")
            remove_tree(folder)


def _place() -> Path:
    recipe = hashlib.sha256(" ".join([RELEASE, *PACKAGES, *OFF, SETUP]).encode()).hexdigest()[:12]
    return root() / f"base-{recipe}"
