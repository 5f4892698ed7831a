"""What hosts are told to fetch, what people see of it, and how many fetch at once: decided without a host."""

from __future__ import annotations

import base64
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from playbooks.adapters.secrets.sources import Secrets
from playbooks.adapters.stores.object_store import Bucket, ObjectInStore
from playbooks.adapters.stores.web import WebStore, shown
from playbooks.core.errors import ConfigError, UsageError
from playbooks.fleet.fanout import Concurrency, Job, run_jobs
from playbooks.fleet.progress import Silent
from playbooks.settings.load import read_settings
from playbooks.settings.model import EnvSecret
from playbooks.settings.pull import ObjectStore, Pull
from playbooks.steps.fetch import fetch_order


def secrets(monkeypatch: pytest.MonkeyPatch, **values: str) -> Secrets:
    for name, value in values.items():
        monkeypatch.setenv(f"TEST_{name}", value)
    return Secrets({name: EnvSecret(env=f"TEST_{name}") for name in values}, Path("/"))


def test_what_is_secret_in_a_url_is_sent_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password in a record is there for as long as records are kept."""
    pull = Pull.model_validate({"headers": {"X-Token": "Bearer {forge}", "Accept": "application/octet-stream"}})
    url = "https://me:p%40ss@store.example:8443/a b/x-1.tar?sig=abc#part".replace(" ", "%20")
    request = WebStore(url, pull, secrets(monkeypatch, forge="tok")).request()
    assert request.url == "https://store.example:8443/a%20b/x-1.tar?sig=abc"
    assert dict(request.headers) == {
        "X-Token": "Bearer tok",
        "Accept": "application/octet-stream",
        "Authorization": "Basic " + base64.b64encode(b"me:p@ss").decode(),
    }
    assert shown(url) == "https://store.example:8443/a%20b/x-1.tar"
    assert "sig" not in repr(request)
    assert "tok" not in repr(request)
    assert fetch_order(request, pull).decode().splitlines()[-1] == "end"


def test_mistakes_are_found_before_any_host_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a host finds out is found out fifty times."""
    with pytest.raises(ConfigError, match="'forge' is used but not set"):
        WebStore("http://x/y", Pull.model_validate({"headers": {"A": "{forge}"}}), secrets(monkeypatch)).request()
    for url in ("http://x/a b", "http://x/\nheader evil: x", "http:///x", "http://x:port/y", "http://[::1/y"):
        with pytest.raises(UsageError, match="is no URL"):
            WebStore(url, Pull.model_validate({}), {})

    def wrong(**pull: Any) -> str:
        return "\n".join(read_settings({"slipway_app": "x", "slipway_pull": pull}, lambda *_: "all.yml:1")[1])

    assert "sent by the fetch itself" in wrong(headers={"Range": "bytes=0-1"})
    assert "access_key and secret_key go together" in wrong(s3={"access_key": "a"})
    assert "without user" in wrong(s3={"endpoint": "https://me:pass@store"})
    assert "parallel" in wrong(parallel=0)


def test_signs_for_one_object_where_the_endpoint_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a plus or a blank signed in one way and asked for in another is refused by every store."""
    known = secrets(monkeypatch, key="AK", secret="SK")
    keys = {"access_key": "key", "secret_key": "secret"}
    settings = ObjectStore.model_validate({**keys, "endpoint": "https://store.example:9000", "region": "here"})
    url = ObjectInStore("s3://builds/shop/x-1.0+b 1.tar", Bucket(settings, known)).request().url
    assert url.startswith("https://store.example:9000/builds/shop/x-1.0%2Bb%201.tar?X-Amz-Algorithm=AWS4-HMAC-SHA256")
    assert "%2Fhere%2Fs3%2F" in url
    assert "X-Amz-Expires=3600" in url
    aws = ObjectStore.model_validate({**keys, "region": "eu-central-1"})
    url = ObjectInStore("s3://builds/x", Bucket(aws, known)).request().url
    assert url.startswith("https://builds.s3.eu-central-1.amazonaws.com/x?")
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    with pytest.raises(UsageError, match="needs botocore") as told:
        Bucket(aws, known)
    assert "requirements-s3.txt" in (told.value.hint or "")


def test_a_limit_holds_back_its_own_kind_alone() -> None:
    """Hosts that wait for their turn must not keep the others' backups from beginning."""
    lock = threading.Lock()
    others = threading.Event()
    now: list[str] = []
    most = 0

    def fetch(name: str) -> str:
        nonlocal most
        with lock:
            now.append(name)
            most = max(most, len(now))
        assert others.wait(20), "the others wait for the fetches"
        with lock:
            now.remove(name)
        return name

    def other() -> str:
        others.set()
        return "other"

    limit = Concurrency("fetch", 2)
    jobs = [Job(f"h{n}", "stage", lambda n=n: fetch(f"h{n}"), limit) for n in range(6)]  # type: ignore[misc]
    results = run_jobs([*jobs, Job("h0", "backup", other)], forks=3, progress=Silent())
    assert [getattr(result, "value", None) for result in results] == ["h0", "h1", "h2", "h3", "h4", "h5", "other"]
    assert most == 2
