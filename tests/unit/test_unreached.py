"""A server that cannot be asked is told with its name and the reason, and not by a Python class."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from playbooks.adapters.metrics.prometheus_http import ask_from_here
from playbooks.adapters.secrets.sources import Secrets
from playbooks.adapters.stores import object_store, web
from playbooks.core.errors import UsageError
from playbooks.fleet.script import load
from playbooks.settings.metrics import Prometheus
from playbooks.settings.pull import ObjectStore, Pull
from tests.private_parts import proves
from tests.unit.test_stores import secrets

CLASS_NAME = re.compile(r"[A-Z][a-z]+[A-Z][A-Za-z]*(Error|Timeout|Exception)|object at 0x|Errno")
WHYS = {
    "no name": "there is no host of that name: nowhere.invalid",
    "refused": "{server} refuses the connection",
    "silent": "{server} does not answer within 1 s",
    "closed": "{server} closed the connection before it had answered",
    "own authority": "the certificate of {server} is not trusted: self-signed certificate",
}


@contextmanager
def server(way: str, folder: Path) -> Iterator[str]:
    """The URL of a server that fails in a way."""
    context = certified(folder) if way == "own authority" else None
    if way == "no name":
        yield "http://nowhere.invalid:81"
        return
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if way == "refused":
            listening.close()
        elif way != "silent":
            threading.Thread(target=answer, args=(listening, context), daemon=True).start()
        yield f"{'https' if context else 'http'}://127.0.0.1:{port}"


def certified(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "key", folder / "certificate"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*words, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def answer(listening: socket.socket, context: ssl.SSLContext | None) -> None:
    while True:
        try:
            connection, _ = listening.accept()
            if context:
                context.wrap_socket(connection, server_side=True).close()
            else:
                connection.recv(65536)
                connection.close()
        except ssl.SSLError:
            continue
        except OSError:
            return


@pytest.mark.parametrize("way", WHYS)
@proves("requests", "reason")
@proves("botocore", "kwargs")
def test_a_server_that_cannot_be_asked(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "ConnectionError" tells nobody whether a name, a firewall or a certificate is wrong, nor on which server."""
    for module in (web, object_store):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 1)
    with server(way, tmp_path) as url:
        said = WHYS[way].format(server=url.partition("://")[2])
        with pytest.raises(UsageError) as artifact:
            web.WebStore(f"{url}/x-1.tar?sig=abc", Pull.model_validate({}), {}).checksum()
        assert f"/x-1.tar.sha256 could not be asked for, {said}" in artifact.value.message, artifact.value
        (reply,) = ask_from_here(Prometheus.model_validate({"url": url, "timeout": "1s"}), Secrets({}, tmp_path))(
            ["up"]
        )
        assert (reply.status, reply.body) == (0, said)
        found = secrets(monkeypatch, key="AK", word="SK")
        settings = {"endpoint": url, "access_key": "key", "secret_key": "word"}
        bucket = object_store.Bucket(ObjectStore.model_validate(settings), found)
        with pytest.raises(UsageError) as stored:
            bucket.head("shop", "x-1.tar")
        assert stored.value.message == f"the object store could not be asked for s3://shop/x-1.tar: {said}"
        for told in (artifact.value, stored.value):
            assert not CLASS_NAME.search(str(told)) and told.hint and "abc" not in str(told)


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (
            "NewConnectionError('…: [Errno -2] Name or service not known'))",
            "finds no address for the name in acme.example",
        ),
        ("NewConnectionError('…: [Errno 111] Connection refused'))", "acme.example refuses the connection"),
        (
            "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] …",
            "does not trust the certificate",
        ),
        ("ConnectTimeoutError('… timed out. (connect timeout=45)'))", "acme.example does not answer this host"),
        ("ProtocolError('Connection aborted.'))", "this host cannot ask acme.example"),
    ],
)
def test_an_authority_that_cannot_be_asked(cause: str, told: str, tmp_path: Path) -> None:
    """certbot writes a line of Python for it."""
    line = f"requests.exceptions.ConnectionError: HTTPSConnectionPool(host='acme.example', port=443): … by {cause}"
    (tmp_path / "said").write_text(f"Saving debug log to x\nAn unexpected error occurred:\n{line}\nAsk for help …\n")
    begin = f"incoming={tmp_path} acme=https://acme.example/directory"
    script = f"{load('hold').prelude}\n{load('lib/acme').body}\n{begin}\nno_certificate"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    tag, code, sentence = done.stdout.rstrip("\n").split("\t")
    assert (done.returncode, tag, code) == (1, "error", "certificate")
    assert told in sentence and not CLASS_NAME.search(sentence), sentence
