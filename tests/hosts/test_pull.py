"""Hosts that fetch the artifact themselves: a bad network, a server that changes its mind, a signature to keep."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from lab.spec import HostSpec, Lab
from tests.hosts.conftest import APPS, App, Ran, invoke, wait_until
from tests.hosts.store import Store, serving
from tests.hosts.test_bad_input import assert_untouched
from tests.hosts.test_deploy import answer
from tests.hosts.watch import watching

On = Callable[[str], Host]
TRACES = ("Kq3Pquery", "Kq3Ptoken", "Kq3Ppassword")
SIZE = 3_000_000


@pytest.fixture
def store(lab: Lab) -> Iterator[Store]:
    with serving(lab.gateway) as running:
        yield running


def big(app: App, version: str) -> Path:
    """An artifact that takes more than one answer; gzip finds nothing in it."""
    return app.build(version, {"data": os.urandom(SIZE)})


def pull(app: App, url: str, *flags: str) -> Ran:
    return invoke("deploy", app.env, f"--artifact={url}", "--batch=100%", *flags)


def parts(on: On, app: App, host: str) -> list[int]:
    """Sizes of what is kept there of fetches that did not end."""
    found = on(host).run(f"stat -c '%s %n' {app.home}/.fetched/*").stdout
    return [int(line.split()[0]) for line in found.splitlines() if not line.endswith(".of")]


def test_goes_on_where_it_broke(app: App, on: On, store: Store) -> None:
    """A link that drops now and then would never carry a large artifact if each try began anew."""
    path = big(app, "1.0.0")
    url = store.put(path)
    store.cuts, store.cut_after = 6, 1_000_000
    store.status = [503]
    app.write(pull={"retries": 3})
    done = pull(app, url)
    assert done.status == 0, done.err
    assert store.cuts == 0, "nothing was cut: this test tests nothing"
    assert "broke" in done.err
    assert {answer(on, app, name) for name in APPS} == {"1.0.0"}
    whole = len(path.read_bytes()) * len(APPS)
    assert whole <= store.sent < whole * 1.05, f"{store.sent} bytes were sent, {whole} are needed"
    assert not on("app1").file(f"{app.home}/.fetched").exists


@pytest.mark.parametrize("flag", ["--version=1.0.0", "--resume"])
def test_next_deploy_goes_on_after_an_interrupted_one(flag: str, app: App, on: On, store: Store) -> None:
    """Ctrl-C, or a laptop that is shut, must not cost what has come; nor must it run on beside the next deploy."""
    path = big(app, "1.0.0")
    app.write(artifact=store.put(path).replace("1.0.0", "{version}"))
    store.pause = 0.1
    process = app.start("deploy", "--version=1.0.0", "--limit=app1")
    wait_until(lambda: sum(parts(on, app, "app1")) > 500_000)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    came = store.sent
    store.pause = 0.02
    done = invoke("deploy", app.env, flag, "--limit=app1")
    assert done.status == 0, done.err
    assert answer(on, app, "app1") == "1.0.0"
    whole = len(path.read_bytes())
    assert came > 500_000
    assert whole <= store.sent < whole * 1.3, f"{store.sent} bytes were sent, {whole} are needed"


def test_what_is_whole_is_not_fetched_again(app: App, on: On, store: Store) -> None:
    """One host of fifty that fails, or a hook that must be mended, must not cost fifty transfers more."""
    url = store.put(big(app, "1.0.0"))
    app.write(hooks={"install": [{"run": "exit 3"}]})
    assert pull(app, url).status == 1
    sent = store.sent
    app.write(hooks={})
    again = pull(app, url)
    assert again.status == 0, again.err
    assert store.sent == sent + 64, "more was sent than the checksum"
    assert not on("app1").file(f"{app.home}/.fetched").exists


def test_another_object_is_never_mixed_with_what_came_before(app: App, on: On, store: Store) -> None:
    """The end of a new object behind the beginning of an old one would be refused, time after time, by its checksum."""
    store.cuts, store.cut_after = 1, 1_000_000
    app.write(pull={"retries": 0})
    url = store.put(big(app, "1.0.0"))
    failed = pull(app, url, "--limit=app1")
    assert (failed.status, "are kept for the next deploy" in failed.err) == (1, True), failed.err
    # Built anew and put in its place: the name is the same, what is kept is another's.
    host = on("app1")
    (kept,) = [name for name in host.check_output(f"ls {app.home}/.fetched").split() if not name.endswith(".of")]
    assert host.check_output(f"stat -c %a:%U {app.home}/.fetched {app.home}/.fetched/{kept}") == "700:root\n600:root"
    store.put(big(app, "1.0.0"))
    changed = pull(app, url, "--limit=app1", f"--sha256={kept}")
    assert (changed.status, "not the one that was asked for" in changed.err) == (1, True), changed.err
    assert "changed on the server" in changed.err
    assert parts(on, app, "app1") == [], "what does not fit was kept"
    # Bytes of its own that are wrong, where nothing on the server tells: one try from the beginning mends it.
    path = big(app, "1.1.0")
    url = store.put(path)
    store.cuts = 1
    assert pull(app, url, "--limit=app1").status == 1
    host.check_output(f"cd {app.home}/.fetched && dd if=/dev/zero of=$(ls | grep -v of$) bs=1k count=1 conv=notrunc")
    mended = pull(app, url, "--limit=app1")
    assert mended.status == 0, mended.err
    assert answer(on, app, "app1") == "1.1.0"


def test_server_without_ranges_is_asked_from_the_beginning(app: App, on: On, store: Store) -> None:
    """Bytes from the beginning behind those that are there already would make a file of the right size, and wrong."""
    store.ranges = False
    store.cuts, store.cut_after = 2, 2_000_000  # the first is spent on the question how large it is
    done = pull(app, store.put(big(app, "1.0.0")), "--limit=app1")
    assert done.status == 0, done.err
    assert "cannot go on in the middle" in done.err
    assert answer(on, app, "app1") == "1.0.0"


def test_what_goes_wrong_is_told(app: App, on: On, store: Store) -> None:
    """ "curl: (22)" tells nobody what to do; and no failed fetch may touch what runs."""
    app.build("1.0.0")
    assert app.deploy("1.0.0").status == 0
    app.write(pull={"retries": 1})
    path = big(app, "2.0.0")
    url = store.put(path)
    summed = "--sha256=" + "a" * 64

    def told(place: str, *flags: str) -> str:
        failed = pull(app, place, "--limit=app1", *flags)
        assert failed.status == 1, failed.out + failed.err
        return failed.err

    assert "SHA-256 is" in told(url, summed)
    assert "is not there (HTTP 404)" in told(f"{store.url}/nothing-1.tar.gz", summed)
    assert "name in http://nowhere.invalid cannot be resolved" in told("http://nowhere.invalid/x-1.tar.gz", summed)
    assert "refuses the connection" in told(f"http://{app.lab.gateway}:1/x-1.tar.gz", summed)
    assert "TLS with https://" in told(url.replace("http:", "https:"), summed)
    store.redirects["/file-1.tar.gz"] = "file:///etc/shadow"
    assert "something else than http or https" in told(f"{store.url}/file-1.tar.gz", summed)
    store.redirects["/loop-1.tar.gz"] = f"{store.url}/loop-1.tar.gz"
    assert "redirects more than 5 times" in told(f"{store.url}/loop-1.tar.gz", summed)
    store.objects["/empty-1.tar.gz"] = b""
    assert "there is nothing in it" in told(f"{store.url}/empty-1.tar.gz", summed)
    store.status = [503] * 9
    assert "has trouble (HTTP 503)" in told(url, summed)
    store.status = []
    store.query = "signed"
    assert "refuses it (HTTP 403)" in told(url, summed)
    store.query = ""
    host = on("app1")
    host.check_output(
        f"mount -t tmpfs -o size=2m small {app.home}/.fetched 2>/dev/null || mkdir -p {app.home}/.fetched"
    )
    host.check_output(f"mountpoint -q {app.home}/.fetched || mount -t tmpfs -o size=2m small {app.home}/.fetched")
    try:
        assert re.search(r"has room for \d+ kB, what is left to fetch takes \d+ kB", told(url))
    finally:
        host.check_output(f"umount {app.home}/.fetched && rmdir {app.home}/.fetched")
    for name in APPS:
        assert not on(name).file(f"{app.home}/.fetched").exists
    assert_untouched(app, on)
    host.check_output("mv /usr/bin/curl /usr/bin/curl.away")
    try:
        assert "curl is not installed" in told(url)
        check = pull(app, url, "--check")
        assert (check.status, "curl is not installed" in check.out) == (1, True)
    finally:
        host.check_output("mv /usr/bin/curl.away /usr/bin/curl")


def test_disk_that_fills_up_meanwhile(app: App, on: On, store: Store) -> None:
    """There was room when it was asked for. A part that is kept on a full disk would keep it full."""
    url = store.put(big(app, "1.0.0"))
    host, place = on("app1"), f"{app.home}/.fetched"
    host.check_output(f"mkdir -p {place} && mount -t tmpfs -o size=6m,mode=700 small {place}")
    try:
        store.pause = 0.03
        process = app.start("deploy", f"--artifact={url}", "--limit=app1")
        wait_until(lambda: sum(parts(on, app, "app1")) > 500_000)
        host.run(f"dd if=/dev/zero of={place}/ballast bs=1M")
        _, told = process.communicate(timeout=60)
        assert (process.returncode, f"the file system of {place} is full" in told) == (1, True), told
        assert host.check_output(f"ls {place}") == "ballast"
    finally:
        host.check_output(f"umount {place} && rmdir {place}")


def test_an_artifact_without_end_does_not_fill_the_disk(app: App, on: On, store: Store) -> None:
    """A server need not say how much it will send, and other things on the host need the disk too."""
    url = store.put(big(app, "1.0.0"))
    store.endless = True
    host, place = on("app1"), f"{app.home}/.fetched"
    host.check_output(f"mkdir -p {place} && mount -t tmpfs -o size=8m,mode=700 small {place}")
    try:
        done = pull(app, url, "--limit=app1")
        assert done.status == 1
        assert "which is half of what" in done.err, done.err
        assert parts(on, app, "app1") == []
    finally:
        host.check_output(f"umount {place} && rmdir {place}")


def test_only_so_many_hosts_fetch_at_once(app: App, on: On, store: Store) -> None:
    """Two hundred hosts that fetch together take the store down, or the link to it."""
    url = store.put(big(app, "1.0.0"))
    store.pause = 0.005
    app.write(pull={"parallel": 2})
    done = pull(app, url)
    assert done.status == 0, done.err
    assert store.most_at_once == 2
    assert {answer(on, app, name) for name in APPS} == {"1.0.0"}


def test_signature_and_token_show_nowhere(app: App, on: On, specs: dict[str, HostSpec], store: Store) -> None:
    """Whoever sees a signed URL in a process list or a log has the artifact, and with a token all of them (E3)."""
    token = 'tok"en \\ Kq3Ptoken'
    (app.folder / "secrets" / "token").write_text(token + "\n")
    app.write(pull={"headers": {"X-Token": "Bearer {token}"}, "retries": 1})
    store.header, store.query = ("X-Token", f"Bearer {token}"), "sig=Kq3Pquery&x=%20"
    path = big(app, "1.0.0")
    place = store.put(path)
    signed = place.replace("://", "://me:Kq3Ppassword@") + "?" + store.query
    app.write(artifact=signed.replace("1.0.0", "{version}"))
    store.cuts, store.cut_after = 3, 1_000_000
    ran: list[Ran] = []

    def run(status: int, *words: str) -> None:
        ran.append(invoke(*words, app.env))
        assert ran[-1].status == status, ran[-1].out + ran[-1].err

    since = on("app1").check_output("date '+%F %T'")
    with watching(app, on, {"app1": specs["app1"].address}, TRACES) as watched:
        run(0, "deploy", "--version=1.0.0", "--check")
        run(0, "deploy", "--version=1.0.0", "--json")
        store.query = "another"
        run(1, "deploy", "--version=2.0.0", "--sha256=" + "a" * 64)
        run(2, "deploy", "--version=3.0.0")
        run(0, "history", "--json")
    assert f"fetch {place}" in ran[0].out
    assert {answer(on, app, name) for name in APPS} == {"1.0.0"}
    for done in ran:
        assert not [trace for trace in TRACES if trace in done.out + done.err], done.out + done.err
    for name, found in watched.items():
        assert found.rounds > 50, "the sampler did not look"
        assert not found.seen, f"{name or 'controller'}: {found.seen}"
    assert watched["app1"].programs > 50, "the wrappers were not used"
    sent = [headers for _, headers in store.requests if headers.get("X-Token") == f"Bearer {token}"]
    assert all(headers["Authorization"].startswith("Basic ") for headers in sent)
    assert len(sent) > len(APPS)
    host = on("app1")
    about = json.loads(host.check_output(f"cat {app.home}/current/.slipway/release.json"))
    assert about["artifact"] == place
    for line in host.check_output(f"journalctl -o json --since='{since}'").splitlines():
        assert not [trace for trace in TRACES if trace in str(json.loads(line).get("MESSAGE"))], line
    done = host.run(
        "printf '%%s\\n' %s %s %s | grep -rlaFf - --exclude-dir=journal /run /tmp /var /opt /etc /root", *TRACES
    )
    assert done.stdout == ""


def test_token_stays_with_the_server_it_is_for(app: App, on: On, lab: Lab, store: Store) -> None:
    """A forge redirects to somebody else's storage: a token that goes along is somebody else's from then on."""
    app.write(pull={"headers": {"Private-Token": "{token}"}})
    token = (app.folder / "secrets" / "token").read_text().strip()
    with serving(lab.gateway) as storage:
        stored: dict[str, Any] = {"/a": storage.put(big(app, "1.0.0"), sidecar=False)}
        store.header = ("Private-Token", token)
        store.redirects = {"/app-1.0.0.tar.gz": stored["/a"], "/app-1.0.0.tar.gz.sha256": f"{storage.url}/sum"}
        (content,) = storage.objects.values()
        storage.put(app.folder / f"{app.name}-1.0.0.tar.gz")
        storage.objects["/sum"] = storage.objects[f"/{app.name}-1.0.0.tar.gz.sha256"]
        done = pull(app, f"{store.url}/app-1.0.0.tar.gz", "--limit=app1")
        assert done.status == 0, done.err
        assert storage.sent >= len(content)
        assert not [headers for _, headers in storage.requests if "Private-Token" in headers]
    assert [headers for _, headers in store.requests if headers.get("Private-Token") == token]
    assert answer(on, app, "app1") == "1.0.0"
