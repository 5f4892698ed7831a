"""Files of SQL as a release has them: what is not understood here would be found out by the database, half-way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playbooks.core.errors import ConfigError, SlipwayError
from playbooks.migrations import statements
from playbooks.migrations.pending import Applied, RecordState, compare
from playbooks.migrations.sql_files import Migration, read_sql_files
from playbooks.migrations.statements import SqlMistake, split, split_all
from playbooks.rollout.databases.reading import agreed_files

UP = b"create table a (b int);\n"
DOWN = b"drop table a;\n"


def texts(sql: str) -> list[str]:
    return [statement.text for statement in split(sql)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 1; select 2", ["select 1", "select 2"]),
        ("-- a; b\n/* c; /* d; */ e */ select 1 ; -- f\n", ["select 1"]),
        ("select ';' , $$;$$, $a$;$$;$a$; select E'\\';'", ["select ';' , $$;$$, $a$;$$;$a$", "select E'\\';'"]),
        (
            "create function f() returns int begin atomic select 1; select case when true then 2 end; end;select 3",
            [
                "create function f() returns int begin atomic select 1; select case when true then 2 end; end",
                "select 3",
            ],
        ),
        ('select "a;b" from "é;"; select 2', ['select "a;b" from "é;"', "select 2"]),
        (";;  ;", []),
    ],
)
def test_statements_are_those_of_postgresql(sql: str, expected: list[str]) -> None:
    """A statement that is cut in two is a syntax error in the middle of a migration, or worse, none."""
    assert texts(sql) == expected


@pytest.mark.parametrize("sql", ["select 1" + "+1" * 600_000, "select 1" + "::int" * 600_000])
def test_a_statement_that_is_nested_without_end_is_a_mistake(sql: str) -> None:
    """The parser, which is written in C, ended the whole task without a word; Python ended it with a traceback."""
    with pytest.raises(ConfigError, match="nested too deeply"):
        read_sql_files({"1_a.up.sql": UP, "2_b.up.sql": sql.encode(), "1_a.down.sql": DOWN}, "db")


def test_a_file_takes_no_more_time_than_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser takes hours for comments in comments, of which a file of a megabyte has room for many."""
    monkeypatch.setattr(statements, "LIMITS", replace(statements.LIMITS, seconds=1))
    with pytest.raises(ConfigError, match="too much time"):
        read_sql_files({"1_a.up.sql": b"/*" * 500_000 + b"*/" * 500_000}, "db")


def test_many_parts_and_many_statements_are_no_mistake() -> None:
    """A text of a thousand parts joined by || was refused with a traceback; to count lines took minutes."""
    read = split_all(["select 'a'" + " || 'a'" * 1500, "select 1;\n" * 30_000])
    assert [len(one) for one in read if isinstance(one, list)] == [1, 30_000]
    assert isinstance(read[1], list)
    assert read[1][-1].line == 30_000


def test_files_without_end_are_no_message_without_end() -> None:
    """An artifact of some kilobytes has any number of files, with names of any length, and each was a line."""
    with pytest.raises(ConfigError) as refused:
        read_sql_files({f"{'x' * 4000}{n}.sql": b"" for n in range(10_000)}, "db")
    assert len(refused.value.problems) == 51
    assert len(str(refused.value)) < 200_000


def test_lines_are_those_of_the_file() -> None:
    """A person looks for the statement that failed by its line."""
    statements = split("-- head é\n\nselect 1;\n\n/* two\nlines */ select\n2;")
    assert [one.line for one in statements] == [3, 6]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select 1;\nselec 2", 'line 2: syntax error at or near "selec"'),
        ("select 1;\n\\! rm -rf /", r"line 2: \\! rm -rf / is a command of psql"),
        ("select 'a", "line 1: unterminated quoted string"),
        ("begin; select 1; commit", "line 1: BEGIN: Slipway itself"),
        ("select 1;\nsavepoint a", "line 2: SAVEPOINT"),
        ("prepare transaction 'a'", "line 1: PREPARE"),
        ("copy a from stdin", "line 1: COPY"),
        ("discard all", "line 1: DISCARD"),
        ("create index concurrently on a (b)", "line 1: an index that is made concurrently needs a name"),
        ("select 1;\n\0", "line 2: a character NUL"),
        ('create index concurrently "i\nlimits\x1f1" on a (b)', r"line 1: the name of the index.*U\+000A"),
        ('create index concurrently i on "s\x1f".a (b)', r"line 1: the name of the index.*U\+001F"),
    ],
)
def test_what_psql_or_slipway_would_read_otherwise_is_refused(sql: str, said: str) -> None:
    r"""``\!`` runs a shell on the database's host; a COMMIT ends what Slipway would take back."""
    with pytest.raises(SqlMistake, match=said):
        split(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "create index concurrently i on a (b)",
        "drop index concurrently i",
        "reindex (concurrently) index i",
        "reindex table concurrently a",
        "reindex schema public",
        "vacuum full a",
        "create database a",
        "alter system set work_mem = '1MB'",
        "alter table a detach partition b concurrently",
    ],
)
def test_what_postgresql_refuses_in_a_transaction_is_known(sql: str) -> None:
    """It would fail on the database, after others of its file have run."""
    assert split(sql)[0].alone
    with pytest.raises(ConfigError, match="say -- slipway: no-transaction"):
        read_sql_files({"1_a.up.sql": sql.encode(), "1_a.down.sql": DOWN}, "db")
    head = b"-- slipway: no-transaction\n"
    assert not read_sql_files({"1_a.up.sql": head + sql.encode(), "1_a.down.sql": DOWN}, "db")[0].up.transaction


def test_what_may_be_in_a_transaction_is() -> None:
    """A migration outside of one is taken back by nobody."""
    for sql in ("create index i on a (b)", "analyze a", "drop index i", "reindex index i", "alter table a add b int"):
        assert not split(sql)[0].alone


def test_an_index_made_concurrently_has_a_name_that_is_found_again() -> None:
    """A half-made index is invalid, and stays: it is dropped before the next try."""
    one, other = split('create index concurrently "I i" on s.a (b); create unique index concurrently j on a (b)')
    assert (one.index, other.index) == (("s", "I i"), ("", "j"))


def migrations(*names: str, contract: str = "") -> tuple[Migration, ...]:
    files = {}
    for name in names:
        head = b"-- slipway: contract\n" if name == contract else b""
        files[f"{name}.up.sql"] = head + UP
        files[f"{name}.down.sql"] = DOWN
    return read_sql_files(files, "db")


def test_order_is_by_number_or_as_text() -> None:
    """10 before 9 would run a migration on a table that is not there yet."""
    assert [one.id for one in migrations("10_b", "9_a")] == ["9", "10"]
    assert [one.id for one in migrations("2026.10_b", "2026.09_a")] == ["2026.09", "2026.10"]


def test_a_head_says_how() -> None:
    """A contract that ran as an expand would break what runs."""
    text = b"-- slipway: contract, lock-timeout=3s\n-- slipway: statement-timeout=2m, irreversible\ndrop table a"
    (one,) = read_sql_files({"1_a.up.sql": text}, "db")
    assert (one.phase, one.up.lock_timeout, one.up.statement_timeout, one.down) == ("contract", 3.0, 120.0, None)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"1_a.up.sql": UP}, "its down file is missing"),
        ({"1_a.down.sql": DOWN}, "its up file is missing"),
        ({"a.sql": UP}, "expected ID_NAME.up.sql"),
        ({"1_a.up.sql": UP, "1_a.down.sql": DOWN, "1_b.up.sql": UP}, "the id 1 is there twice"),
        ({"1_a.up.sql": b"select '\xff'", "1_a.down.sql": DOWN}, "line 1: not UTF-8"),
        ({"1_a.up.sql": b"-- nothing", "1_a.down.sql": DOWN}, "has no statement"),
        ({"1_a.up.sql": b"-- slipway: contracts\n" + UP, "1_a.down.sql": DOWN}, "-- slipway: contracts: expected"),
        ({"1_a.up.sql": b"-- slipway: lock-timeout=never\n" + UP, "1_a.down.sql": DOWN}, "expected a duration"),
        ({"1_a.up.sql": b"-- slipway: irreversible\n" + UP, "1_a.down.sql": DOWN}, "and has a down file"),
    ],
)
def test_a_folder_that_is_wrong_is_told_with_all_its_mistakes(files: dict[str, bytes], said: str) -> None:
    """It ends the deploy before a host is touched."""
    with pytest.raises(ConfigError, match=said):
        read_sql_files(files, "db")


def test_other_files_of_the_folder_are_left_alone() -> None:
    """A README is no migration."""
    assert read_sql_files({"README.md": b"\xff", ".keep": b""}, "db") == ()


@settings(max_examples=30, deadline=None)  # each starts a process
@given(st.dictionaries(st.from_regex(r"[0-9a]_[ab]\.(up|down)\.sql", fullmatch=True), st.binary(max_size=60)))
def test_no_file_breaks_it(files: dict[str, bytes]) -> None:
    """A traceback would be all that a person sees of a mistake in a file."""
    try:
        read_sql_files(files, "db")
    except ConfigError as error:
        assert error.problems


def applied(one: Migration, **changes: object) -> Applied:
    row: dict[str, object] = {
        "id": one.id, "name": one.name, "phase": one.phase, "direction": "up", "state": RecordState.APPLIED,
        "up_sha256": one.up.sha256,
        "down_sha256": one.down.sha256 if one.down else "", "statement": 1, "statements": 1, "by": "ann", "deploy": "d",
        "started": "", "ended": "", "milliseconds": 3,
    }  # fmt: skip
    return Applied(**{**row, **changes})  # type: ignore[arg-type]


def test_what_is_missing_is_pending_in_order() -> None:
    """A contract waits for nobody needing the old schema, and an expand does not wait for it."""
    one, two, three = migrations("1_a", "2_b", "3_c", contract="2_b")
    found = compare([one, two, three], [applied(one)], database="shop")
    assert (found.expand, found.contract, found.problems) == ((three,), (two,), ())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"up_sha256": "0" * 64}], "1_a.up.sql is not the file that was applied to shop"),
        ([{"id": "9", "name": "z", "phase": "contract"}], "shop has 9_z, which this release does not know"),
        ([{"id": "9", "name": "z", "state": RecordState.FAILED, "statements": 2}], "shop has 9_z, which this release"),
        ([{"id": "0", "name": "z"}], "shop has 0_z, which this release does not know"),
        ([{"id": "2", "name": "b"}], "1_a comes before 2_b, which shop has already"),
        ([{"state": RecordState.FAILED, "statement": 1, "statements": 2, "up_sha256": "0" * 64}], "is not the file"),
        ([{"direction": "down", "state": RecordState.FAILED}], "1_a was being taken back from shop, and stopped after"),
    ],
)
def test_a_history_that_does_not_fit_is_refused(rows: list[dict[str, object]], said: str) -> None:
    """Nobody tried these migrations on that schema."""
    both = migrations("1_a", "2_b")
    found = compare(both, [applied(both[0], **row) for row in rows], database="shop")
    assert [problem for problem in found.problems if said in problem], found.problems


def test_expands_of_a_later_release_stop_no_older_one() -> None:
    """After a rollback nothing could be deployed but the release that was just found bad."""
    one, two, three = migrations("1_a", "2_b", "3_c")
    found = compare([one], [applied(one), applied(two), applied(three)], database="shop")
    assert (found.newer, found.problems, found.expand) == (("2_b", "3_c"), (), ())
    assert compare([], [applied(one)], database="shop").newer == ("1_a",)
    assert not compare([one, two], [applied(one), applied(two)], database="shop").newer
    # A repair of the older release with a migration of its own: nobody tried it on top of the later one's.
    between = compare([one, three], [applied(one), applied(two)], database="shop")
    assert "shop has 2_b, which this release does not know" in between.problems[0]


def test_a_migration_that_ended_half_way_is_gone_on_with() -> None:
    """Its first statements would fail, or be done twice."""
    (one,) = migrations("1_a")
    row = applied(one, state=RecordState.FAILED, statement=1, statements=2)
    assert compare([one], [row], database="shop").half == row
    assert compare([one], [applied(one, state=RecordState.FAILED, statement=0)], database="shop").half is None
    assert compare([one], [applied(one, state=RecordState.REVERTED)], database="shop").expand == (one,)


def test_one_host_alone_does_not_say_what_runs_in_a_database() -> None:
    """A host had SQL of its own run in a database that it does not reach itself, as the user that migrates."""
    good, bad = {"shop": {"1_a.up.sql": UP}}, {"shop": {"1_a.up.sql": b"grant shop to mallory"}}
    assert agreed_files({"a": good, "b": good, "c": dict(good)}, "r") == good
    assert agreed_files({"a": good}, "r") == good
    with pytest.raises(SlipwayError, match=r"^a say that release r has other SQL files than b and c say"):
        agreed_files({"a": bad, "b": good, "c": good}, "r")
    with pytest.raises(SlipwayError):
        agreed_files({"a": bad, "b": good}, "r")
