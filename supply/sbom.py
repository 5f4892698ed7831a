"""The bill of materials of Slipway itself, in CycloneDX's JSON format.

It is made of the lock files, and of the licences and needs that the installed packages state. Nothing in it is of the
moment or of the machine, so the same lock files give the same bytes.
"""

from __future__ import annotations

import json
import re
import tomllib
import uuid
from importlib.metadata import Distribution, distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply.locked import LOCKS, PROJECT, Locked, read_lock

# CycloneDX: excluded is what is there while Slipway is made, and not when it runs.
SCOPES = dict(zip(LOCKS, ("required", "optional", "excluded"), strict=True))
_DIRECT = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
# Licences in the words of older metadata, by their SPDX identifiers.
_SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    **{name: name for name in ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MPL-2.0")},
}
# Where those words leave open which it is: as their licence files read.
_READ = {
    "fabric": "BSD-2-Clause",
    "invoke": "BSD-2-Clause",
    "jinja2": "BSD-3-Clause",
    "python-dateutil": "(Apache-2.0 AND BSD-3-Clause) OR BSD-3-Clause",
    "sqlparse": "BSD-3-Clause",
}


def sbom() -> str:
    """The document's text.

    Raises:
        importlib.metadata.PackageNotFoundError: a package of a lock file is not installed.
        ValueError: a package names no licence that is known here.
    """
    packages = {
        package.name: (package, scope)
        for lock, scope in reversed(SCOPES.items())
        for package in read_lock(PROJECT / lock)
        if package.runs_here
    }
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = f"pkg:generic/{project['name']}@{project['version']}"
    refs = {name: purl(package) for name, (package, _) in packages.items()}
    direct = _DIRECT.findall("".join((PROJECT / lock).with_suffix(".in").read_text(encoding="utf-8") for lock in LOCKS))
    content: dict[str, Any] = {
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": project["name"],
                "version": project["version"],
                "description": project["description"],
                "purl": own,
            }
        },
        "components": [_component(package, scope) for _, (package, scope) in sorted(packages.items())],
        "dependencies": [
            {"ref": own, "dependsOn": sorted(refs[canonicalize_name(name)] for name in direct)},
            *({"ref": refs[name], "dependsOn": _needs(name, refs)} for name in sorted(packages)),
        ],
    }
    # The number names this content: whatever changes is another document.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{number}", "version": 1}
    return json.dumps(head | content, indent=1, ensure_ascii=False) + "\n"


def purl(package: Locked) -> str:
    """A package's URL (purl): its name and version, at whichever index."""
    return f"pkg:pypi/{package.name}@{package.version}"


def _component(package: Locked, scope: str) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": purl(package),
        "name": package.name,
        "version": package.version,
        "scope": scope,
        "licenses": [{"expression": _licence(distribution(package.name))}],
        "purl": purl(package),
        "externalReferences": [
            {
                "type": "distribution",
                "url": purl(package),
                "comment": "the release's files; one of them is installed",
                "hashes": [{"alg": "SHA-256", "content": content} for content in sorted(package.hashes)],
            }
        ],
    }


def _licence(installed: Distribution) -> str:
    """A package's licence as an SPDX expression.

    Raises:
        ValueError: it names none, or one in words that are not known here.
    """
    stated = installed.metadata
    if "License-Expression" in stated:
        return stated["License-Expression"]
    if canonicalize_name(installed.name) in _READ:
        return _READ[canonicalize_name(installed.name)]
    classifiers = [
        line.rpartition(" :: ")[2] for line in stated.get_all("Classifier") or [] if line.startswith("License ::")
    ]
    words = stated["License"] if "License" in stated else "".join(classifiers)
    if words not in _SPDX:
        raise ValueError(f"{installed.name} has the licence {words[:60]!r}: add its SPDX identifier to {__name__}")
    return _SPDX[words]


def _needs(name: str, refs: dict[str, str]) -> list[str]:
    """What a package needs of the locked ones, on any Python; what its extras need is not counted."""
    needs = (Requirement(line) for line in distribution(name).requires or [])
    names = {canonicalize_name(need.name) for need in needs if "extra" not in str(need.marker or "")}
    return sorted(refs[need] for need in names if need in refs)
