"""Whether a deploy may rely on a rehearsal: what is let through here meets a real database."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.migrations.certificate import (
    Budget,
    Certificate,
    Rehearsed,
    held,
    lost,
    objections,
    read_certificate,
    speaks_against,
)
from playbooks.migrations.sql_files import Migration, read_sql_files

LONG = "x" * 100_000
NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
RUNNING = frozenset(["1.0.0"])
BUDGET = Budget(max_age=86400, lock=2, table=10_000_000)
FILES = {"1_a.up.sql": b"alter table a add b int", "1_a.down.sql": b"alter table a drop b"}
(ONE,) = read_sql_files(FILES, "db")


def certificate(one: Migration = ONE, **rehearsed: object) -> Certificate:
    shown = Rehearsed(one.id, one.name, one.up.sha256, one.down.sha256 if one.down else "", (5,))
    shown = replace(shown, **rehearsed)  # type: ignore[arg-type]
    return Certificate(
        database="shop", at="2026-11-30T11:00:00Z", by="ann", version="1.1.0", source="b", before="f", after="g",
        bytes=1, grown=0, migrations=(shown,), tables={"public.a": 50_000_000}, running="1.0.0", old_release="passed",
    )  # fmt: skip


def said(shown: Certificate | None, fingerprint: str = "f", now: datetime = NOW) -> str:
    return "; ".join(objections(shown, [ONE], fingerprint, RUNNING, BUDGET, now))


def test_a_rehearsal_that_fits_speaks_for_its_migrations() -> None:
    """Nobody could deploy, and everybody would overrule it."""
    assert said(certificate()) == ""
    assert list(objections(None, [], "x", RUNNING, BUDGET, NOW)) == [], "nothing is pending"


@pytest.mark.parametrize(
    "told",
    [
        {"at": "0001-01-01T00:00:00+14:00"},
        {"at": "2026-11-30T11:00:00"},
        {"at": "today"},
        {"bytes": 10**400},
        {"tables": {"public.a": 10**400}},
        {"grown": float("nan")},
    ],
)
def test_what_no_rehearsal_writes_is_none(told: dict[str, object]) -> None:
    """A host's lie ended the deploy in a fault: a time outside of the calendar, a number that nothing can hold."""
    text = json.dumps({**certificate().to_json(), **told})
    assert read_certificate(text) is None


def test_a_certificate_does_not_flood_a_message() -> None:
    """A host that keeps a certificate of megabytes had them shown, and written into the ledger."""
    many = {f"public.a{number}{LONG}": ("AccessExclusiveLock", 3000) for number in range(100)}
    flood = replace(certificate(held=many), version=LONG, old_release="failed", why={"old_release": LONG})
    flood = replace(flood, tables=dict.fromkeys(many, 50_000_000), at="9999-01-01T00:00:00Z")
    sentences = list(objections(flood, [ONE], "f", RUNNING, BUDGET, NOW))
    assert (len(sentences) < 30, max(map(len, sentences)) < 5000) == (True, True)
    assert sentences[0] == "the rehearsal has a time that is yet to come"


@pytest.mark.parametrize(
    ("shown", "fingerprint", "expected"),
    [
        (None, "f", "they were not rehearsed"),
        (certificate(), "other", "the schema is not the one that was rehearsed"),
        (
            certificate(up_sha256="0" * 64),
            "f",
            "1_a was not in the last rehearsal, that of 1.1.0, or its file was another",
        ),
        (replace(certificate(), at="2026-11-28T11:00:00Z"), "f", "the rehearsal is 49 h old, and 24 h are allowed"),
        (
            replace(certificate(), old_release="failed", why={"old_release": "no column b"}),
            "f",
            "the release that runs does not work with the new schema (no column b)",
        ),
        (
            certificate(held={"public.a": ("AccessExclusiveLock", 3000)}),
            "f",
            "1_a kept readers and writers of public.a (50 MB) waiting for 3.0 s, and 2 s are allowed",
        ),
        (certificate(held={"public.a": ("ShareLock", 3000)}), "f", "1_a kept writers of public.a"),
    ],
)
def test_what_a_rehearsal_does_not_speak_for_is_told(
    shown: Certificate | None, fingerprint: str, expected: str
) -> None:
    """It is let through to the real database."""
    assert expected in said(shown, fingerprint)


def test_a_proof_is_that_of_the_release_that_ran_then() -> None:
    """The release that runs now meets a schema that only the one before it was tried on."""
    other = frozenset(["1.0.1"])
    (told,) = objections(certificate(), [ONE], "f", other, BUDGET, NOW)
    assert told == "1.0.1 runs, and 1.0.0 was tried on the new schema: another release ran then"
    assert list(objections(replace(certificate(), running=""), [ONE], "f", other, BUDGET, NOW)) == []
    assert list(objections(certificate(), [ONE], "f", other | RUNNING, BUDGET, NOW)) == [], "an idle group keeps it"


def test_a_rehearsal_that_failed_counts_where_none_is_required() -> None:
    """Somebody rehearses, sees it fail, and a colleague deploys; or one that is about something else keeps all away."""
    failed = replace(certificate(), old_release="failed", why={"old_release": "no column b"})
    told = ["the release that runs does not work with the new schema (no column b)"]
    assert list(speaks_against(failed, [ONE], RUNNING)) == told
    assert list(speaks_against(replace(failed, new_release="failed"), [ONE], RUNNING))[1:] == [
        "the new release does not work with the new schema"
    ]
    assert list(speaks_against(failed, [ONE], frozenset(["1.0.1"]))) == []
    asked = replace(certificate(), checks=("the restored shop: 'select false' answers 'f', expected true",))
    assert list(speaks_against(asked, [ONE], RUNNING)) == [f"on the new schema, {asked.checks[0]}"] == [said(asked)]
    other = replace(failed, migrations=certificate(up_sha256="0" * 64).migrations)
    for shown, pending in ((None, [ONE]), (failed, []), (other, [ONE]), (certificate(), [ONE])):
        assert list(speaks_against(shown, pending, RUNNING)) == []


def test_small_tables_and_short_locks_are_no_matter() -> None:
    """Every ALTER takes such a lock, for milliseconds."""
    lock = certificate(held={"public.a": ("AccessExclusiveLock", 3000)})
    assert said(replace(lock, tables={"public.a": 1_000_000})) == ""
    assert said(certificate(held={"public.a": ("AccessExclusiveLock", 1999)})) == ""


def test_a_lock_is_held_until_the_transaction_ends() -> None:
    """An ALTER of a millisecond before an UPDATE of a minute locks for a minute."""
    locks = {
        ("a", "AccessExclusiveLock"): 2,
        ("a", "RowExclusiveLock"): 1,
        ("b", "ShareLock"): 3,
        ("c", "AccessShareLock"): 1,
    }
    assert held(locks, (10, 1, 60_000)) == {"a": ("AccessExclusiveLock", 60_001), "b": ("ShareLock", 60_000)}


def test_what_is_lost_is_told_by_its_name() -> None:
    """'Lossy' alone helps nobody."""
    assert lost(["column a", "index i"], ["column a", "index j"]) == ["index i is gone", "index j is new"]


def test_what_a_host_keeps_is_read_back() -> None:
    """The deploy runs from another machine than the rehearsal."""
    one = certificate(held={"public.a": ("ShareLock", 3)}, lossy=("x",), rewrites=("public.a",))
    assert read_certificate(json.dumps(one.to_json())) == one


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_nonsense_is_no_rehearsal(document: object) -> None:
    """A traceback would end every deploy."""
    assert read_certificate(json.dumps(document)) is None
    assert read_certificate("{") is None


@given(st.text(), st.sampled_from(["at", "before", "migrations", "tables", "old_release"]))
def test_a_damaged_certificate_lets_nothing_through(text: str, name: str) -> None:
    """A host that is not sound must not vouch for a migration by accident."""
    found = read_certificate(json.dumps({**certificate().to_json(), name: text}))
    assert found is None or name in ("at", "before")
    if found is not None:
        said(found, now=NOW + timedelta(hours=1))
