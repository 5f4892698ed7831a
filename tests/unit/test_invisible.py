"""Characters that nobody sees: in no name, and in what others say made visible."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from playbooks.core.errors import ConfigError
from playbooks.core.invisible import find_invisible, visible
from playbooks.fleet.address import read_address
from playbooks.report.output import answer, json_text, shown, tell
from playbooks.settings.types import Text

EVIL = {
    "C0": "\x1b[2J",
    "delete": "\x7f",
    "C1": "\x9b31m",
    "next line": "\x85",
    "right to left": "\u202etxt.exe",
    "isolate": "\u2067x\u2069",
    "no width": "a\u200bb",
    "joiner": "a\u200db",
    "byte order mark": "\ufeffshop",
    "soft hyphen": "sh\xadop",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "half": "\ud800",
    "not assigned": "\U000e0fff",
    "private": "\ue000",
    "tag": "\U000e0041",
    "filler": "\u3164",
    "variation": "a\ufe0f",
    "blank Braille": "\u2800",
    "accents": "e" + "\u0301" * 40,
}


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_no_name_holds_what_is_not_seen(text: str) -> None:
    """Two names that look alike, or one that turns the line round, are how a person confirms the wrong thing."""
    with pytest.raises(ValidationError, match="not seen"):
        TypeAdapter(Text).validate_python(f"shop{text}")
    with pytest.raises(ConfigError, match="not seen"):
        read_address(f"web1{text}", {}, connect_timeout=5.0)


@pytest.mark.parametrize("text", ["shop", "größer – 50 %", "Αθήνα", "שלום", "東京", "e\u0301", "a\xa0b", "ok 👍"])
def test_names_of_all_languages_are_names(text: str) -> None:
    """People have names in their own letters."""
    assert TypeAdapter(Text).validate_python(text) == text
    assert visible(text) == text


@given(st.text(st.characters(), max_size=60))
def test_whatever_a_host_says_is_seen(text: str) -> None:
    """It must neither steer the terminal nor hide; and what is visible is left as it is."""
    told = visible(text)
    assert find_invisible(told) is None
    assert all(unicodedata.category(sign)[0] != "C" and sign not in "\u2028\u2029" for sign in told)
    assert visible(told) == told
    if find_invisible(text) is None:
        assert told == text
    assert told.encode("utf-8") is not None


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_json_keeps_it_and_shows_it(text: str) -> None:
    """A program gets what was said; a person who looks at the document sees it."""
    document = json_text({"said": text})
    assert json.loads(document)["said"] == text
    if len(text) < 20:
        assert all(find_invisible(line) is None for line in document.split("\n"))


def test_what_is_shown_of_it_says_which_it_is() -> None:
    """Somebody looks it up."""
    assert visible("a\x1b\u202e\U000e0041b") == "a␛<U+202E><U+E0041>b"
    assert re.fullmatch("e\u0301{4}<more accents>x", visible("e" + "\u0301" * 1000 + "x"))


def test_what_is_shown_is_no_command_to_ci(capsys: pytest.CaptureFixture[str]) -> None:
    """A pull request's inventory, or an application's log, set variables for the steps of CI that come after."""
    for text in (
        "##vso[task.setvariable variable=PATH]/evil",
        "x ##[add-path]/evil",
        "##teamcity[setParameter name='a']",
    ):
        assert "##" not in visible(text)
        assert "##" not in json_text({text: text})
        assert json.loads(json_text({text: [text]})) == {text: [text]}
    answer(shown("  ::add-mask::shop"), shown("::error file=a,line=1::b"), shown("::1 localhost"))
    tell(shown("::set-output name=a::b"))
    told = capsys.readouterr()
    assert "::1 localhost" in told.out
    assert not re.search("^ *::[a-z]", told.out + told.err, re.MULTILINE)
