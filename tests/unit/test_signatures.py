"""Who wrote a record: signed in OpenSSH's format, checked by OpenSSH's program, and worth nothing when changed."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from playbooks.adapters.secrets.sources import Secrets
from playbooks.core.errors import ConfigError, UsageError
from playbooks.core.sshsig import (
    SK_ED25519,
    BadSignature,
    PublicKey,
    armoured,
    check,
    envelope,
    packed,
    read_public_key,
    to_be_signed,
)
from playbooks.fleet.lock_owner import LockOwner
from playbooks.ledger import keys
from playbooks.ledger.keys import Signing, find_key
from playbooks.ledger.proof import tell_all
from playbooks.ledger.seal import DELEGATIONS, GUARD_ADDS, RECORDS, Seal, SigningKey, canonical, digest, signed_part
from playbooks.ledger.standing import Standing, Verifier
from playbooks.settings.ledger import LedgerSettings
from playbooks.settings.model import FileSecret
from tests.agent import running_agent

HOLDER = LockOwner("ann@laptop", "deploy 1.1.0", "2026-11-21T04:31:00Z", "20261121T043100Z-1.1.0", "deploy", "1.1.0")
KINDS = {"ed25519": [], "ecdsa": ["-b", "256"], "ecdsa-384": ["-b", "384"], "ecdsa-521": ["-b", "521"], "rsa": []}
PROJECT = Path(__file__).resolve().parent.parent.parent


def ledger(**given: Any) -> LedgerSettings:
    return LedgerSettings.model_validate(given)


def make_key(folder: Path, kind: str, passphrase: str = "") -> Path:
    path = folder / kind
    words = ["-t", kind.partition("-")[0], *KINDS.get(kind, [])]
    subprocess.run(["ssh-keygen", "-q", "-N", passphrase, "-C", f"{kind}@here", "-f", path, *words], check=True)
    return path


def public(path: Path) -> str:
    return Path(f"{path}.pub").read_text().strip()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    return {kind: make_key(folder, kind) for kind in KINDS}


@pytest.fixture
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A real agent without keys."""
    with running_agent(tmp_path / "agent") as place:
        monkeypatch.setenv("SSH_AUTH_SOCK", place)
        yield


def add(path: Path) -> None:
    subprocess.run(["ssh-add", "-q", str(path)], check=True, capture_output=True)


def secrets(path: Path) -> Secrets:
    return Secrets({"ledger": FileSecret(file=str(path))}, path.parent)


def key_of_file(path: Path) -> SigningKey:
    found = find_key(ledger(key="ledger"), secrets(path))
    assert found is not None
    return found


def record(key: SigningKey | None, **more: Any) -> dict[str, Any]:
    about = {"task": "deploy", "id": HOLDER.id, "by": HOLDER.who, "started": HOLDER.since, "seconds": 3.0}
    document = {**about, "hosts": {"app1": "deployed", "app2": "deployed"}, "reason": "so — ünï", **more}
    return Seal("production", "shop", HOLDER, key).record(document, {"app1": "0" * 32})


def ssh_keygen_says(folder: Path, signer: str, namespace: str, message: bytes, signature: str) -> bool:
    (folder / "signers").write_text(f'ann namespaces="{namespace}" {signer}\n')
    (folder / "signature").write_text(armoured(signature))
    words = ["-Y", "verify", "-f", "signers", "-I", "ann", "-n", namespace, "-s", "signature"]
    done = subprocess.run(["ssh-keygen", *words], cwd=folder, input=message, capture_output=True, check=False)
    return done.returncode == 0


def auditor_says(folder: Path, line: dict[str, Any], signer: str) -> str:
    """What comes of the commands in docs/history.md."""
    text = (PROJECT / "docs" / "history.md").read_text()
    commands = text.partition("## For auditors")[2].split("```sh\n")[1].split("```")[0]
    (folder / "record.json").write_text(json.dumps(line, ensure_ascii=False))
    (folder / "ann.pub").write_text(f"{signer}\n")
    done = subprocess.run(["sh", "-c", commands], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("no_agent")
def test_openssh_believes_what_is_signed(made: dict[str, Path], tmp_path: Path, kind: str) -> None:
    """A signature that only Slipway can check proves what Slipway says."""
    delegation = record(key_of_file(made[kind]))["delegation"]
    message, signature = canonical(signed_part(delegation)), delegation["signature"]
    assert ssh_keygen_says(tmp_path, public(made[kind]), DELEGATIONS, message, signature)
    assert not ssh_keygen_says(tmp_path, public(made[kind]), DELEGATIONS, message + b" ", signature)
    assert not ssh_keygen_says(tmp_path, public(made[kind]), RECORDS, message, signature)


@pytest.mark.usefixtures("no_agent")
def test_what_auditors_are_told_to_type_works(made: dict[str, Path], tmp_path: Path) -> None:
    """A page whose commands do not work is no proof to anybody."""
    signer = public(made["ed25519"])
    line = {"prev": "start", "host": "app1", **record(key_of_file(made["ed25519"]))}
    said = auditor_says(tmp_path, line, signer)
    assert (said.count("Good"), said.count("Could not")) == (2, 0), said
    said = auditor_says(tmp_path, {**line, "reason": "other"}, signer)
    assert (said.count("Good"), said.count("Could not")) == (1, 1), said
    line["delegation"]["by"] = "eve@laptop"
    assert "Good" not in auditor_says(tmp_path, line, signer)


@pytest.mark.parametrize("kind", KINDS)
def test_what_openssh_signs_is_read(made: dict[str, Path], kind: str) -> None:
    """The format is OpenSSH's: what it makes must be read, of every kind of key."""
    done = subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", str(made[kind]), "-n", RECORDS],
        input=b"message",
        capture_output=True,
        check=True,
    )
    text = "".join(done.stdout.decode().splitlines()[1:-1])
    assert check(text, b"message", RECORDS) == read_public_key(public(made[kind]))
    for message, namespace in ((b"massage", RECORDS), (b"message", DELEGATIONS)):
        with pytest.raises(BadSignature):
            check(text, message, namespace)


def test_a_security_keys_signature_is_read(tmp_path: Path) -> None:
    """A key of hardware signs something about the message; here its part is played in software, and OpenSSH judges."""
    token = Ed25519PrivateKey.generate()
    key = PublicKey(packed(SK_ED25519, token.public_key().public_bytes_raw(), "ssh:"), "token")
    flags = b"\x01" + (7).to_bytes(4)
    data = hashlib.sha256(b"ssh:").digest() + flags + hashlib.sha256(to_be_signed(b"message", RECORDS)).digest()
    text = envelope(key, packed(SK_ED25519, token.sign(data)) + flags, RECORDS)
    assert ssh_keygen_says(tmp_path, str(key), RECORDS, b"message", text)
    assert check(text, b"message", RECORDS).touched
    with pytest.raises(BadSignature):
        check(text, b"massage", RECORDS)


@pytest.fixture(scope="module")
def trusted(made: dict[str, Path]) -> tuple[Verifier, dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        signed = record(key_of_file(made["ed25519"]))
    return Verifier([public(made["ed25519"])], environment="production", application="shop"), signed


def standing(verifier: Verifier, one: dict[str, Any], host: str = "app1") -> Standing:
    return verifier.judge(host, one, digest(one)).standing


def test_what_the_host_adds_does_not_count(trusted: tuple[Verifier, dict[str, Any]]) -> None:
    """The same record stands on many hosts, in many chains: one signature for all of them."""
    verifier, signed = trusted
    judged = verifier.judge("app1", signed, digest(signed))
    assert (judged.standing, judged.key and judged.key.comment) == (Standing.TRUSTED, "ed25519@here")
    own = {**signed, "prev": "start", "host": "app2", "healed": True, "repaired_from": "app1"}
    assert standing(verifier, json.loads(json.dumps(own)), "app2") is Standing.TRUSTED
    assert digest(own) == digest(signed)


LEAVES = ("task", "id", "by", "started", "seconds", "reason", "environment", "application", "hosts", "heads")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_record_can_be_changed(trusted: tuple[Verifier, dict[str, Any]], data: st.DataObject) -> None:
    """Whatever is changed in it, added to it or taken out of it, nobody vouches for it any more."""
    verifier, signed = trusted
    text = canonical(signed).decode()
    how = data.draw(st.sampled_from(("byte", "add", "drop", "by_host", "delegation")))
    if how == "byte":
        place = data.draw(st.integers(0, len(text) - 1))
        sign = data.draw(st.characters(codec="ascii", exclude_characters=text[place]))
        try:
            changed = json.loads(text[:place] + sign + text[place + 1 :])
        except ValueError:
            return
    elif how == "add":
        changed = {**signed, data.draw(st.sampled_from((*GUARD_ADDS, "zz", ""))): data.draw(st.text(max_size=5))}
    elif how == "drop":
        gone = data.draw(st.sampled_from(LEAVES))
        changed = {name: value for name, value in signed.items() if name != gone}
    elif how == "by_host":
        changed = {**signed, "by_host": list(GUARD_ADDS), "status": "done"}
    else:
        name = data.draw(st.sampled_from(("task", "id", "by", "environment", "application", "key", "since")))
        changed = {**signed, "delegation": {**signed["delegation"], name: data.draw(st.text(max_size=9))}}
    if canonical(changed) == canonical(signed):
        return
    assert standing(verifier, changed) is not Standing.TRUSTED, changed


def test_a_signature_is_written_in_one_way_only(trusted: tuple[Verifier, dict[str, Any]]) -> None:
    """Written otherwise it would be another record with the same words: the honest hosts were accused of theirs."""
    verifier, signed = trusted
    text = signed["signature"]
    data = base64.b64decode(text)
    about = len(b"SSHSIG") + 4
    about += 4 + int.from_bytes(data[about : about + 4])  # the key
    about += 4 + int.from_bytes(data[about : about + 4])  # what it is for; then what is reserved
    assert data[about : about + 4] == bytes(4)
    ways = [base64.b64encode(data[:about] + b"\0\0\0\1x" + data[about + 4 :]).decode()]
    bits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = text.rstrip("=")
    if last != text:
        other = last[:-1] + bits[bits.index(last[-1]) ^ 1] + text[len(last) :]
        assert base64.b64decode(other, validate=True) == data
        ways.append(other)
    assert len(ways) > 1, "base64 of this length has no bits to spare: sign something longer"
    for way in ways:
        assert standing(verifier, {**signed, "signature": way}) is Standing.BROKEN, way


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_end_the_check_in_another_error(data: bytes) -> None:
    """A hostile host's signature must not end the controller."""
    for text in (base64.b64encode(data).decode(), base64.b64encode(b"SSHSIG\0\0\0\1" + data).decode()):
        with pytest.raises(BadSignature):
            check(text, b"message", RECORDS)


def test_a_record_is_worth_something_in_its_place_only(
    made: dict[str, Path], trusted: tuple[Verifier, dict[str, Any]]
) -> None:
    """A signed record of staging's, or of another host's, is an old truth in a new place."""
    verifier, signed = trusted
    assert standing(verifier, signed, "app3") is Standing.MISPLACED
    for here in (
        {"environment": "staging", "application": "shop"},
        {"environment": "production", "application": "web"},
    ):
        elsewhere = Verifier([public(made["ed25519"])], **here)
        assert standing(elsewhere, signed) is Standing.MISPLACED
    other = Verifier([public(made["ecdsa"])], environment="production", application="shop")
    judged = other.judge("app1", signed, digest(signed))
    assert judged.standing is Standing.UNTRUSTED
    assert "not trusted" in judged.why and judged.key is not None and judged.key.fingerprint in judged.why


@pytest.mark.usefixtures("no_agent")
def test_a_task_signs_for_itself_only(made: dict[str, Path]) -> None:
    """Whoever saw a delegation could else sign the next deploy with the last one's."""
    verifier = Verifier([public(made["ed25519"])], environment="production", application="shop")
    seal = Seal("production", "shop", HOLDER, key_of_file(made["ed25519"]))
    hosts = {"hosts": {"app1": "deployed"}}
    for more in ({"id": "other"}, {"task": "rollback"}, {"task": "guard"}, {"by": "eve@laptop"}):
        about = {"task": "deploy", "id": HOLDER.id, "by": HOLDER.who, **hosts, **more}
        assert standing(verifier, seal.record(about)) is Standing.BROKEN, more


@pytest.mark.usefixtures("no_agent")
def test_a_host_fills_in_what_is_left_to_it(made: dict[str, Path]) -> None:
    """A guard writes when nobody is there to sign: who armed it, and where it goes, is signed before; for that host."""
    verifier = Verifier([public(made["ed25519"])], environment="production", application="shop")
    seal = Seal("production", "shop", HOLDER, key_of_file(made["ed25519"]))
    armed = seal.left_to(
        "app1", {**HOLDER.guard_record("production", "1.0.0"), "hosts": {"app1": "x"}}, adds=GUARD_ADDS
    )
    written = {"status": "done", "at": "2026-11-21T04:32:00Z", **armed}
    judged = verifier.judge("app1", written, digest(written))
    assert (judged.standing, judged.by_host) == (Standing.TRUSTED, True)
    assert standing(verifier, written, "app2") is Standing.MISPLACED
    assert standing(verifier, {**written, "version": "6.6.6"}) is Standing.BROKEN
    assert standing(verifier, {**written, "by_host": ["at", "status", "version"]}) is Standing.BROKEN
    assert "version" in signed_part({**written, "by_host": ["version"]})
    abandoned_record = seal.left_to("app2", HOLDER.abandoned_record("production"))
    assert standing(verifier, abandoned_record, "app2") is Standing.TRUSTED
    assert standing(verifier, {**abandoned_record, "status": "done"}, "app2") is Standing.BROKEN


@pytest.mark.usefixtures("agent")
def test_the_agents_key_that_may_is_taken_else_the_environments(made: dict[str, Path]) -> None:
    """Which key signs must not depend on luck: a record by the wrong one is a fault on every host."""
    kept = secrets(made["rsa"])
    assert find_key(ledger(), kept) is None
    add(made["ecdsa"])
    add(made["ed25519"])

    def found(**given: Any) -> str:
        key = find_key(ledger(**given), kept)
        assert key is not None
        assert check(envelope(key.public, key.sign(to_be_signed(b"x", RECORDS)), RECORDS), b"x", RECORDS) == key.public
        return key.public.kind

    assert found() == "ecdsa-sha2-nistp256", "the agent's first"
    assert found(signers=[public(made["ed25519"])]) == "ssh-ed25519"
    assert found(signers=[public(made["rsa"])], key="ledger") == "ssh-rsa"
    assert found(signers=[public(made["rsa"]), public(made["ed25519"])], key="ledger") == "ssh-ed25519"
    with pytest.raises(UsageError, match="nothing was touched") as refused:
        find_key(ledger(signers=[public(made["ecdsa-384"])]), kept)
    assert "ed25519@here" in str(refused.value) and "ecdsa-384@here" in str(refused.value)
    assert find_key(ledger(signers=[public(made["ecdsa-384"])], require=False), kept) is None


def test_an_agent_that_does_not_answer_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forwarded agent whose laptop sleeps answers nothing, for ever."""
    monkeypatch.setattr(keys, "AGENT_SECONDS", 0.3)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "agent"))
        silent.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        assert find_key(ledger(), Secrets({}, tmp_path)) is None
        with pytest.raises(UsageError, match=r"keys that are here \(none\)"):
            find_key(ledger(require=True), Secrets({}, tmp_path))


@pytest.mark.usefixtures("agent")
def test_a_locked_agent_is_met_before_anything_is_touched(made: dict[str, Path]) -> None:
    """An agent that has a key and does not sign with it is found out when the task begins, not when it ends."""
    add(made["ed25519"])
    signing = Signing(ledger(signers=[public(made["ed25519"])]), secrets(made["rsa"]), environment="e", application="a")
    signing.prepare(lambda _: None)
    subprocess.run(["ssh-add", "-q", "-D"], check=True, capture_output=True)
    with pytest.raises(UsageError, match="nothing was touched"):
        signing.seal(HOLDER)


@pytest.mark.usefixtures("no_agent")
def test_the_environments_key_is_checked_and_struck_out(made: dict[str, Path], tmp_path: Path) -> None:
    """A private key in an error or a log is no private key any more."""
    kept = secrets(made["ed25519"])
    assert find_key(ledger(key="ledger"), kept) is not None
    for line in made["ed25519"].read_text().splitlines()[1:-1]:
        assert line not in kept.mask(f"said {line}")
    locked = make_key(tmp_path, "ed25519", passphrase="secret")
    with pytest.raises(ConfigError, match="passphrase"):
        find_key(ledger(key="ledger"), secrets(locked))
    (tmp_path / "none").write_text("nothing\n")
    (tmp_path / "none").chmod(0o600)
    with pytest.raises(ConfigError, match="no private key"):
        find_key(ledger(key="ledger"), secrets(tmp_path / "none"))


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-dss AAAAB3NzaC1kc3M= x", "ssh-ed25519 AAAA x", "ssh-rsa !"])
def test_a_signer_that_is_no_key_is_refused(line: str) -> None:
    """A misspelt key in the settings would trust nobody, and accuse everybody."""
    with pytest.raises(ValueError, match=r"expected a public key|is none of"):
        read_public_key(line)


def test_who_vouches_for_a_record_reads_all_of_it() -> None:
    """A host put a reason of 300 letters before what it claimed of others, or a field that was not shown at all."""
    record = {"id": "x", "task": "deploy", "version": "6.6.6", "reason": "a" * 400, "hosts": {"app1": "deployed"}}
    told = tell_all({**record, "revoked": ["app2"], "prev": "start", "host": "app3"})
    assert "app1: deployed" in told and '"revoked": ["app2"]' in told and "start" not in told
    assert '"hosts": ["app1"]' in tell_all({**record, "hosts": ["app1"]})
    long = tell_all({**record, "reason": "a" * 100_000})
    assert len(long) < 5000 and "more characters, which nobody should accept unread" in long
