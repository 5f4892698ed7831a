"""Which version a deploy takes when nobody names one: a wrong guess is a wrong release in production."""

from __future__ import annotations

import itertools

import pytest

from playbooks.releases.version_order import in_order, newest

ORDERED = [
    # semver.org, 11
    ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1"],
    ["0.9.9", "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0", "2.0.0"],
    ["v9.2.1", "v10.0.0", "v10.0.1-rc.1"],
    ["v9.2.1", "10.0.0"],
    # https://packaging.python.org/en/latest/specifications/version-specifiers/
    ["1.10.0.dev3", "1.10.0a1", "1.10.0b2", "1.10.0rc1", "1.10.0", "1.10.0.post1", "1.11"],
    ["1.9", "1.10"],
    ["build-9", "build-10"],
    ["release-2026.9.30", "release-2026.10.1"],
    ["2026-09-30", "2026-11-29", "2026-11-29-2", "2026-11-29-10"],
    ["20260930", "20261129", "20261129T0815", "20261129T1200"],
    ["7", "17", "113"],
]


@pytest.mark.parametrize("versions", ORDERED, ids=lambda versions: versions[-1])
def test_versions_sort_as_their_kind_says(versions: list[str]) -> None:
    for shuffled in itertools.islice(itertools.permutations(versions), 500):
        assert in_order(shuffled) == versions


@pytest.mark.parametrize(
    ("versions", "version", "why"),
    [
        (["v9.2.1", "v10.0.0"], "v10.0.0", "the newest of 2 by semantic versioning"),
        (["1.9.0", "1.10.0rc1", "1.10.0"], "1.10.0", "the newest of 2 by Python's rules for versions (PEP 440)"),
        (
            ["1.9.0", "1.10.0rc1"],
            "1.9.0",
            "the newest of 1 by Python's rules for versions (PEP 440), 1.10.0rc1 left out as a pre-release",
        ),
        (["20260930", "20261129"], "20261129", "the newest of 2 by date"),
    ],
)
def test_the_newest_is_told_with_its_reason(versions: list[str], version: str, why: str) -> None:
    found = newest(versions)
    assert (found.version, found.why) == (version, why)


@pytest.mark.parametrize(
    ("versions", "rivals"),
    [
        (["1.2.3+1", "1.2.3+2"], ("1.2.3+1", "1.2.3+2")),
        (["v1.2.3", "1.2.3"], ("1.2.3", "v1.2.3")),
        (["1.0", "1.0.0"], ("1.0", "1.0.0")),
        (["1.0.0", "1.1.0", "latest"], ("latest",)),
        (["4f2a9c1", "a81bc02"], ("4f2a9c1", "a81bc02")),
        (["1.0.0-rc.1", "1.0.0-rc.2"], ("1.0.0-rc.1", "1.0.0-rc.2")),
        (["main-5", "stable-9"], ("main-5", "stable-9")),
        (["1234567", "abcdef1"], ("1234567", "abcdef1")),
        (["release-9", "2.0"], ("2.0", "release-9")),
        (["1.0.0", "1.0.0-1"], ("1.0.0", "1.0.0-1")),
        ([], ()),
    ],
)
def test_what_is_unclear_is_a_question(versions: list[str], rivals: tuple[str, ...]) -> None:
    """A tie, a name that follows no order, nothing but pre-releases: a person says which one."""
    found = newest(versions)
    assert (found.version, found.rivals) == (None, rivals)
