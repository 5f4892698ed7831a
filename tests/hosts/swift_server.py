"""OpenStack Swift with its S3 interface, on one machine: an object store that checks signatures and dates for itself.

Run by Debian's own Python, which has python3-swift: swift_server.py FOLDER ADDRESS ACCESS-KEY SECRET-KEY. Prints its
port and serves until it is ended; so do the parts that it starts.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

COMMON = """[DEFAULT]
swift_dir = {folder}
bind_ip = {address}
bind_port = {port}
user = root
workers = 0
devices = {folder}/devices
mount_check = false
log_name = slipway-test
"""
SERVERS = {
    "account": "[pipeline:main]\npipeline = account-server\n[app:account-server]\nuse = egg:swift#account\n",
    "container": "[pipeline:main]\npipeline = container-server\n[app:container-server]\nuse = egg:swift#container\n",
    # Objects in memory: not every file system has the attributes that Swift keeps beside them.
    "object": "[pipeline:main]\npipeline = object-server\n[app:object-server]\nuse = egg:swift#mem_object\n",
}
PROXY = """[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
allow_multipart_uploads = false
auth_pipeline_check = false
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
"""


def free_port(address: str) -> int:
    with socket.socket() as one:
        one.bind((address, 0))
        return int(one.getsockname()[1])


def wait_for_port(port: int) -> None:
    for _ in range(300):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def make_ring(folder: Path, name: str, port: int) -> None:
    from swift.common.ring.builder import RingBuilder

    builder = RingBuilder(2, 1, 0)
    device = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "device": "d1", "meta": "", **device})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{name}.ring.gz"))


def start(folder: Path, name: str) -> int:
    """Start a server in its own process, which ends with this one."""
    child = os.fork()
    if child == 0:
        from swift.common.wsgi import run_wsgi

        sys.exit(run_wsgi(str(folder / f"{name}-server.conf"), f"{name}-server"))
    return child


def main(folder: Path, address: str, access_key: str, secret_key: str) -> None:
    (folder / "devices" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = a\nswift_hash_path_prefix = b\n[storage-policy:0]\nname = one\n"
        "default = yes\n"
    )
    from swift.common.utils import set_swift_dir

    set_swift_dir(str(folder))
    ports = {name: free_port("127.0.0.1") for name in SERVERS}
    for name, conf in SERVERS.items():
        port = ports[name]
        make_ring(folder, name, port)
        common = COMMON.format(folder=folder, address="127.0.0.1", port=port)
        (folder / f"{name}-server.conf").write_text(common + conf)
    memcached = free_port("127.0.0.1")
    port = free_port(address)
    conf = COMMON.format(folder=folder, address=address, port=port) + PROXY.format(
        memcached=memcached, user=access_key.replace(":", "_"), secret=secret_key
    )
    (folder / "proxy-server.conf").write_text(conf)
    words = ["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(memcached), "-m", "16"]
    cache = subprocess.Popen(words)
    children = [start(folder, name) for name in SERVERS]
    for name in SERVERS:
        # The proxy ignores a part for a minute after it was unreachable, so start the parts first.
        wait_for_port(ports[name])
    children.append(start(folder, "proxy"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(port, flush=True)
    try:
        signal.pause()
    finally:
        for child in (*children, cache.pid):
            os.kill(child, signal.SIGTERM)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
