"""The same job with pyinfra: upload, back up, unpack, unit, rename, restart, health, prune."""

import os

from pyinfra.operations import files, server, systemd

ARTIFACT, RELEASE, APP, PORT = (os.environ[name] for name in ("ARTIFACT", "RELEASE", "APP", "PORT"))
HOME = f"/opt/{APP}-pyinfra"
UNIT = f"{APP}-pyinfra"

files.directory(name="release", path=f"{HOME}/releases/{RELEASE}", _sudo=True)
files.directory(name="backups", path=f"{HOME}/backups", _sudo=True)
server.shell(
    name="backup",
    commands=[f"[ ! -e {HOME}/current ] || tar -czf {HOME}/backups/{RELEASE}.tar.gz -C {HOME}/current/ ."],
    _sudo=True,
)
files.put(name="upload", src=ARTIFACT, dest=f"/tmp/{UNIT}.tar.zst")
server.shell(
    name="unpack",
    commands=[f"tar --zstd -xf /tmp/{UNIT}.tar.zst -C {HOME}/releases/{RELEASE}", f"rm /tmp/{UNIT}.tar.zst"],
    _sudo=True,
)
files.template(
    name="unit",
    src=os.path.join(os.path.dirname(__file__), "unit.service.j2"),
    dest=f"/etc/systemd/system/{UNIT}.service",
    home=HOME,
    port=PORT,
    _sudo=True,
)
server.shell(
    name="switch",
    commands=[f"ln -sfn releases/{RELEASE} {HOME}/current.new && mv -T {HOME}/current.new {HOME}/current"],
    _sudo=True,
)
systemd.service(
    name="restart", service=f"{UNIT}.service", running=True, restarted=True, enabled=True, daemon_reload=True, _sudo=True
)
server.shell(
    name="health",
    commands=[
        f"for i in $(seq 100); do curl -sf http://127.0.0.1:{PORT}/VERSION && exit 0; sleep 0.1; done; exit 1",
    ],
)
server.shell(
    name="prune",
    commands=[
        f"ls -d {HOME}/releases/* | sort -r | tail -n +6 | xargs -r rm -rf",
        f"ls {HOME}/backups/* 2>/dev/null | sort -r | tail -n +6 | xargs -r rm -f",
    ],
    _sudo=True,
)
