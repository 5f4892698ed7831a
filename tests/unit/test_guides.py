"""What the guides have their readers write is a configuration; what pages link to or name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from playbooks.environments.load import load_environment

PROJECT = Path(__file__).resolve().parent.parent.parent
DOCS = PROJECT / "docs"
GUIDES = sorted((DOCS / "guides").glob("*.md"))
WRITTEN = re.compile(r"^cat >(>?)(inventory/\S+) <<'END'\n(.*?)^END$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")


def write(page: Path, folder: Path) -> None:
    """The files below inventory/ that a page has its reader write, in their order."""
    for more, name, text in WRITTEN.findall(page.read_text()):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text((file.read_text() if more else "") + text)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_inventory_of_a_guide_is_one(page: Path, tmp_path: Path) -> None:
    """A setting that is renamed, or a template that is not there, would be met by a new user."""
    write(DOCS / "first-deploy.md", tmp_path)
    write(page, tmp_path)
    env = load_environment(str(tmp_path / "inventory"), PROJECT)
    settings = env.settings
    assert [target.name for target in env.targets] == ["app1", "app2"]
    assert settings.artifact == f"../dist/{settings.app}-{{version}}.tar.zst"
    assert settings.health.checks
    assert settings.balancer is not None
    assert settings.backup.drill.command
    for file in settings.config:
        assert (tmp_path / "inventory" / "templates" / file.template).is_file()
    for name in settings.secrets:
        assert f"~/.config/slipway/{settings.app}/{name}" in page.read_text()


@pytest.mark.parametrize(
    "page", [*PROJECT.glob("*.md"), *DOCS.rglob("*.md")], ids=lambda page: str(page.relative_to(PROJECT))
)
def test_links_lead_somewhere(page: Path) -> None:
    for name, anchor in LINK.findall(page.read_text()):
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{page.name} links to {name}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {name}#{anchor}"


def test_what_contributing_names_is_there() -> None:
    """Whoever adds a thing would look for a place that was renamed."""
    names = re.findall(
        r"`((?:playbooks|templates|tests|script|docs)/[\w./*-]*)", (PROJECT / "CONTRIBUTING.md").read_text()
    )
    assert len(names) > 20
    assert [name for name in names if not list(PROJECT.glob(name.rstrip("/")))] == []
