"""The same job with Fabric as one writes it first: a command at a time, hosts side by side.

Usage: fabric_deploy.py ARTIFACT RELEASE APP PORT KEY KNOWN-HOSTS HOST...
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import paramiko
from fabric import Connection

ARTIFACT, RELEASE, APP, PORT, KEY, KNOWN_HOSTS, *HOSTS = sys.argv[1:]
HOME = f"/opt/{APP}-fabric"
UNIT = f"{APP}-fabric"
FILE = f"""[Service]
WorkingDirectory={HOME}/current
ExecStart={HOME}/current/bin/run {PORT}
User=www-data
[Install]
WantedBy=multi-user.target
"""


def deploy(host):
    with Connection(host, user="deploy", connect_kwargs={"key_filename": KEY, "look_for_keys": False}) as c:
        c.client.load_host_keys(KNOWN_HOSTS)
        c.client.set_missing_host_key_policy(paramiko.RejectPolicy())

        def sudo(command):
            return c.run(f"sudo sh -c '{command}'", hide=True)

        sudo(f"mkdir -p {HOME}/releases/{RELEASE} {HOME}/backups")
        sudo(f"[ ! -e {HOME}/current ] || tar -czf {HOME}/backups/{RELEASE}.tar.gz -C {HOME}/current/ .")
        c.put(ARTIFACT, f"/tmp/{UNIT}.tar.zst")
        sudo(f"tar --zstd -xf /tmp/{UNIT}.tar.zst -C {HOME}/releases/{RELEASE}")
        c.run(f"rm /tmp/{UNIT}.tar.zst")
        sudo(f'printf %s "{FILE}" >/etc/systemd/system/{UNIT}.service')
        sudo(f"ln -sfn releases/{RELEASE} {HOME}/current.new")
        sudo(f"mv -T {HOME}/current.new {HOME}/current")
        sudo("systemctl daemon-reload")
        sudo(f"systemctl enable -q {UNIT}")
        sudo(f"systemctl restart {UNIT}")
        for _ in range(100):
            if c.run(f"curl -sf http://127.0.0.1:{PORT}/VERSION", hide=True, warn=True).ok:
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"{host} is not healthy")
        sudo(f"ls -d {HOME}/releases/* | sort -r | tail -n +6 | xargs -r rm -rf")
        sudo(f"ls {HOME}/backups/* 2>/dev/null | sort -r | tail -n +6 | xargs -r rm -f")


with ThreadPoolExecutor(len(HOSTS)) as pool:
    list(pool.map(deploy, HOSTS))
