"""Lines of a payload: a value that ends its line early is an instruction to a script that runs as root."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.core.errors import SlipwayError
from playbooks.steps.backup import as_line, as_payload
from tests.composed_scripts import STEPS

FIELDS = st.lists(
    st.text(st.characters(exclude_characters="\0\n\x1f", exclude_categories=["Cs"]), max_size=20),
    min_size=1,
    max_size=5,
)
READS = f"""
fail() {{ exit 3; }}
. {STEPS}/lib/payload.sh
tell() {{ printf '%s\\0' "$@"; printf '\\n\\0'; }}
read_lines tell test
"""


@pytest.mark.parametrize("wrong", ["a\nlimits\x1fa[$(id)]", "a\x1fb", "a\0b"])
def test_no_value_ends_its_line(wrong: str) -> None:
    """An index was called so, and what its name said after the end of the line was done by the host."""
    with pytest.raises(SlipwayError) as error:
        as_line("statement", "1", wrong)
    assert "'statement' has the character U+00" in error.value.message
    assert "limits" not in error.value.message, "it may be a secret"


@given(st.lists(FIELDS, max_size=4))
def test_fields_arrive_as_they_are(lines: list[list[str]]) -> None:
    """A field that is lost, or two, moves a password to where a name is expected."""
    lines = [["line", *fields] for fields in lines]
    payload = as_payload([as_line(*fields) for fields in lines])
    done = subprocess.run(["/bin/sh", "-c", READS], input=payload, capture_output=True, check=True)
    told = done.stdout.decode().split("\n\0")[:-1]
    assert [one.split("\0")[:-2] for one in told] == lines, "the last field is the mark of the end"
