"""A page that a flag asks for: written after the task, and refused before it if that is impossible."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from playbooks.core.errors import UsageError
from playbooks.core.surroundings import own_path
from playbooks.report.output import in_page, shown, tell

TEMPLATES = Path(__file__).resolve().parent.parent.parent / "templates" / "report"


def page_text(name: str, **values: object) -> str:
    """A self-contained page from Slipway's own template and style sheet of this name.

    The page's own policy allows its style and nothing else: no script, no request.

    Args:
        name: of both files, without their endings.
        values: what the template shows. Some comes from hosts and other people: all of it is escaped.
    """
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=in_page,
    )
    style = (TEMPLATES / f"{name}.css").read_text(encoding="utf-8")
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(f"{name}.html.j2").render(style=style, style_hash=style_hash, **values)


def writable_page(flag: str, text: str) -> Path:
    """The file for a page, checked before anything is done.

    Args:
        flag: that asks for it, without its dashes.
        text: as it was typed.

    Raises:
        UsageError: nothing can be written there.
    """
    if not text:
        raise UsageError(f"--{flag}=: the page has no name", hint=f"such as --{flag}={flag}.html")
    page = own_path(text)
    if not page.parent.is_dir():
        raise UsageError(f"--{flag}={text}: there is no folder {page.parent}", hint=f"mkdir -p {page.parent}")
    if page.is_dir():
        raise UsageError(f"--{flag}={text}: that is a folder; name a file in it, such as {page / flag}.html")
    if not os.access(page if page.exists() else page.parent, os.W_OK):
        raise UsageError(f"--{flag}={text}: it cannot be written; name another file")
    return page


def write_page(what: str, path: Path, page: str) -> None:
    """Write a page and say where it is. A page that cannot be written does not make a finished task fail.

    Args:
        what: it is, in a word.
        path: where to.
        page: its text.
    """
    try:
        path.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        tell(shown(f"warning: {path} could not be written: {error.strerror}"))
    else:
        tell(shown(f"{what}: {path}"))
