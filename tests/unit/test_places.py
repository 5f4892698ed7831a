"""Places in a release, and the user that makes it, as settings have them."""

from __future__ import annotations

from typing import Any

import pytest

from playbooks.settings import Settings
from playbooks.settings.load import read_settings


def read(**given: Any) -> tuple[Settings | None, list[str]]:
    """Settings of an application x."""
    variables = {"slipway_app": "x", **{f"slipway_{key}": value for key, value in given.items()}}
    return read_settings(variables, lambda *_: "all.yml:1")


def config(*places: str) -> list[dict[str, str]]:
    return [{"template": "x.j2", "dest": place} for place in places]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"shared": ["a", "a/b/c"]}, "slipway_shared: a/b/c is inside a of slipway_shared"),
        ({"shared": ["a/b", "a"]}, "slipway_shared: a/b is inside a of slipway_shared"),
        ({"shared": ["a", "a"]}, "slipway_shared: a is there twice, as a of slipway_shared"),
        ({"shared": ["a"], "writable": ["a/b"]}, "slipway_writable: a/b is inside a of slipway_shared"),
        ({"shared": ["a/b"], "writable": ["a"]}, "slipway_shared: a/b is inside a of slipway_writable"),
        ({"shared": ["a"], "config": config("a/b")}, "slipway_config: a/b is inside a of slipway_shared"),
        ({"shared": ["a/b"], "config": config("a")}, "slipway_shared: a/b is inside a of slipway_config"),
        ({"writable": ["a"], "config": config("a")}, "slipway_config: a is there twice, as a of slipway_writable"),
        ({"config": config("a", "a/b")}, "slipway_config: a/b is inside a of slipway_config"),
    ],
)
def test_places_that_overlap_are_refused(given: dict[str, Any], told: str) -> None:
    """One would be removed for the other, or be the user's where it is not meant to be."""
    settings, problems = read(**given)
    assert settings is None
    assert len(problems) == 1
    assert f"all.yml:1: {told}" in problems[0]


def test_an_overlap_is_told_with_the_line_of_its_entry() -> None:
    """A list may be long, and in a file of many."""
    asked: list[tuple[Any, ...]] = []

    def origin(key: str, *path: Any) -> str:
        asked.append((key, *path))
        return "all.yml:7"

    given = {"slipway_app": "x", "slipway_writable": ["b"], "slipway_config": config("a", "b/c")}
    _, (problem,) = read_settings(given, origin)
    assert problem.startswith("all.yml:7: slipway_config: b/c is inside b of slipway_writable")
    assert asked == [("slipway_config", 1)]


def test_places_beside_each_other_are_well() -> None:
    """A name that begins with another's is not inside it; one file may have a template for each group of hosts."""
    given = {"shared": ["a", "ab/c", "a-b"], "writable": ["w", "w/x", "w"], "config": config("c", "c", "cd/e")}
    settings, problems = read(**given)
    assert (problems, settings is None) == ([], False)


def test_each_application_has_a_build_user_of_its_own() -> None:
    """Two applications that share one could change what the other makes; useradd takes 32 characters."""
    names = ["a", "shop", "x" * 40, "x" * 39 + "y"]
    users = [Settings.model_validate({"app": name}).build_user for name in names]
    assert users[:2] == ["slipway-build-a", "slipway-build-shop"]
    assert len(set(users)) == len(names)
    assert all(len(user) <= 32 for user in users)
    assert read(user="slipway-build-other")[0] is None


@pytest.mark.parametrize("name", ["../../hooks/install/00", "a/b.conf", "x", ".conf", "-x.conf\n"])
def test_a_drop_in_is_one_file(name: str) -> None:
    """Its name becomes part of a path; one that leaves its folder was left out, and nobody said so."""
    unit = {"Service": {"ExecStart": "/bin/x"}}
    assert read(services=[{"name": "x", "unit": unit, "drop_ins": {name: "x.j2"}}])[0] is None
