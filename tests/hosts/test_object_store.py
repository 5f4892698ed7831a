"""Artifacts in an S3-style object store: OpenStack Swift, which checks signatures and dates for itself."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from testinfra.host import Host

from lab.spec import Lab
from tests.hosts.conftest import APPS, App, invoke, wait_until
from tests.hosts.test_deploy import answer

On = Callable[[str], Host]
SERVER = Path(__file__).parent / "swift_server.py"
ACCESS_KEY, SECRET_KEY = "slipway:deploy", "Uf7T+secret/key"


@dataclass(frozen=True)
class Swift:
    """A running store with a bucket "artifacts".

    Args:
        endpoint: its URL.
        client: botocore's, with the right keys.
    """

    endpoint: str
    client: Any

    def put(self, path: Path) -> None:
        content = path.read_bytes()
        self.client.put_object(Bucket="artifacts", Key=f"shop/{path.name}", Body=content)
        summed = hashlib.sha256(content).hexdigest().encode()
        self.client.put_object(Bucket="artifacts", Key=f"shop/{path.name}.sha256", Body=summed)


@pytest.fixture(scope="module")
def swift(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    folder = tmp_path_factory.mktemp("swift")
    words = ["/usr/bin/python3", str(SERVER), str(folder), lab.gateway, ACCESS_KEY, SECRET_KEY]
    with (folder / "log").open("w") as log, subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log) as server:
        assert server.stdout
        port = server.stdout.readline().decode().strip()
        assert port, "Swift did not start; script/test installs it: " + (folder / "log").read_text()[-500:]
        endpoint = f"http://{lab.gateway}:{port}"
        session = botocore.session.Session()
        session.set_credentials(ACCESS_KEY, SECRET_KEY)
        client = session.create_client(
            "s3", region_name="us-east-1", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"})
        )

        def answers() -> bool:
            try:
                client.create_bucket(Bucket="artifacts")
            except Exception:  # noqa: BLE001 - whatever a server says that is not up yet
                return False
            return True

        try:
            wait_until(answers)
            yield Swift(endpoint, client)
        finally:
            server.terminate()


def use(app: App, swift: Swift, secret_key: str = SECRET_KEY, **changes: Any) -> None:
    for name, value in (("s3_access", ACCESS_KEY), ("s3_secret", secret_key)):
        place = app.folder / "secrets" / name
        place.touch(mode=0o600)
        place.write_text(value)
        app.settings["secrets"][name] = {"file": str(place)}
    store = {"endpoint": swift.endpoint, "access_key": "s3_access", "secret_key": "s3_secret", **changes}
    app.write(artifact=f"s3://artifacts/shop/{app.name}-{{version}}.tar.gz", pull={"s3": store, "retries": 1})


def test_hosts_fetch_what_the_controller_signed(app: App, on: On, swift: Swift) -> None:
    """Credentials of the store on every host would be credentials of the store for whoever breaks into one."""
    use(app, swift)
    for version in ("1.9.0", "1.10.0", "2.0.0-rc1"):
        swift.put(app.build(version))
    check = invoke("deploy", app.env, "--check")
    assert check.status == 0, check.err
    place = f"artifacts/shop/{app.name}-1.10.0.tar.gz"
    assert f"fetch {swift.endpoint}/{place}" in check.out, "1.10.0 is the newest"
    done = invoke("deploy", app.env, "--batch=100%", "--json")
    assert done.status == 0, done.err
    assert {answer(on, app, name) for name in APPS} == {"1.10.0"}
    everything = check.out + check.err + done.out + done.err
    for trace in ("X-Amz-", "AWS4-HMAC", SECRET_KEY):
        assert trace not in everything
        for folder in (app.home, app.state, "/var/log", "/etc", "/root", "/tmp"):
            assert on("app1").run(f"printf '%s' '{trace}' | grep -rlaFf - --exclude-dir=journal {folder}").stdout == ""
    assert f"s3://{place}" in on("app1").check_output(f"cat {app.home}/current/.slipway/release.json")
    missing = app.deploy("3.0.0")
    assert (missing.status, f"there is no s3://artifacts/shop/{app.name}-3.0.0.tar.gz" in missing.err) == (2, True)


def test_wrong_keys_are_told_before_any_host_is_met(app: App, swift: Swift) -> None:
    """A wrong key must not be found out by fifty hosts, one after the other."""
    path = app.build("1.0.0")
    swift.put(path)
    use(app, swift, secret_key="wrong")
    wrong = app.deploy("1.0.0")
    assert (wrong.status, "the object store refuses" in wrong.err) == (2, True), wrong.err
    use(app, swift)
    other = invoke("deploy", app.env, f"--artifact=s3://elsewhere/{path.name}", "--sha256=" + "a" * 64)
    assert (other.status, f"there is no s3://elsewhere/{path.name}" in other.err) == (2, True), other.err
    app.settings["pull"]["s3"].update(access_key=None, secret_key=None)
    app.write()
    none = invoke("deploy", app.env, "--version=1.0.0", environment={"AWS_EC2_METADATA_DISABLED": "true"})
    assert (none.status, "there are no credentials for s3://" in none.err) == (2, True), none.err
    standard = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    assert invoke("deploy", app.env, "--version=1.0.0", "--check", environment=standard).status == 0


def test_expired_and_forged_signatures(app: App, swift: Swift) -> None:
    """HTTP 403 alone sends a person to look at permissions; what is to be done is to sign anew."""
    path = app.build("1.0.0")
    swift.put(path)
    what = {"Bucket": "artifacts", "Key": f"shop/{path.name}"}
    signed = swift.client.generate_presigned_url("get_object", Params=what, ExpiresIn=1)
    summed = "--sha256=" + hashlib.sha256(path.read_bytes()).hexdigest()
    time.sleep(2)
    expired = invoke("deploy", app.env, f"--artifact={signed}", summed, "--limit=app1")
    assert (expired.status, "HTTP 403 AccessDenied, expired" in expired.err) == (1, True), expired.err
    assert "signed anew" in expired.err
    signed = swift.client.generate_presigned_url("get_object", Params=what, ExpiresIn=600)
    forged = invoke("deploy", app.env, f"--artifact={signed[:-4]}beef", summed, "--limit=app1")
    assert (forged.status, "HTTP 403 AccessDenied)" in forged.err) == (1, True), forged.err
    assert "Signature=" not in expired.out + expired.err + forged.out + forged.err
    assert invoke("deploy", app.env, f"--artifact={signed}", summed, "--limit=app1").status == 0
