"""Find and check the artifact of a deploy before any host changes (A1: validate version)."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from playbooks.adapters.stores.object_store import Bucket, ObjectInStore, split
from playbooks.adapters.stores.web import WebStore, is_remote, secret_parts, shown
from playbooks.core.artifact import Artifact, Store
from playbooks.core.errors import UsageError
from playbooks.core.names import VERSION
from playbooks.core.surroundings import here, own_path
from playbooks.environments.environment import Environment
from playbooks.releases.version_order import in_order, newest

_IN_NAME = re.compile(r"-v?(\d+(?:\.\d+)+[A-Za-z0-9._+-]*?)\.(?:tar|tgz)")
_CHECKSUM = re.compile(r"([0-9a-f]{64})(?:\s|$)")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
MAX_PASSED = 5  # versions taken back that a message names
FORMATS = {".tar.zst": "zstd", ".tar.gz": "gzip", ".tgz": "gzip", ".tar.xz": "xz", ".tar": "none"}


def find_artifact(
    env: Environment,
    *,
    version: str | None = None,
    artifact: str | None = None,
    sha256: str | None = None,
    without: Mapping[str, str] = MappingProxyType({}),
) -> Artifact:
    """Find the artifact to deploy.

    Args:
        env: the environment; its ``slipway_artifact`` says where versions are.
        version: the version; without a version or an artifact, the newest.
        artifact: a path or URL, instead of ``slipway_artifact``.
        sha256: the expected checksum; default: a ``.sha256`` file beside the artifact.
        without: versions to skip unless they are named, each with the reason.

    Raises:
        UsageError: the artifact is missing, has an unknown format or a wrong checksum, or the names do not tell which
            version is the newest.
    """
    if version is not None and not VERSION.fullmatch(version):
        raise UsageError(f"--version={version!r} is no version: letters, digits and . _ + - only, 64 at the most")
    if sha256 is not None and not _CHECKSUM.fullmatch(sha256.lower()):
        raise UsageError("--sha256 expects 64 hexadecimal digits")
    why = ""
    given = artifact is not None
    if artifact is None:
        if version is None:
            version, why = _newest(env, without)
        artifact = _template(env).replace("{version}", _in_place(env, version))
    expected = sha256.lower() if sha256 else None
    if is_remote(artifact):
        found = _remote(env, artifact, version, expected)
    elif other := _SCHEME.match(artifact):
        raise UsageError(
            f"an artifact is fetched by http://, https:// or s3://, not by {other[1]}://; nothing was touched",
            hint=_meant(env, given=given),
        )
    else:
        found = _local(env, artifact, version, expected, given=given)
    return replace(found, why=why)


def local_artifacts(env: Environment, version: str, source: str) -> list[Path]:
    """Return where the artifact of an earlier deploy may still be on the controller.

    Args:
        env: the environment, which says where versions are.
        version, source: the version and source in its release.json.
    """
    places = [source] if source and not is_remote(source) else []
    template = env.settings.artifact
    if template is not None and not is_remote(template) and VERSION.fullmatch(version):
        places.append(template.replace("{version}", version))
    return [path for place in places for path in _where(env, place)]


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256, in hex.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compression_of(name: str) -> str | None:
    """Return the compression of an artifact by its name; None if unknown."""
    return next((compression for ending, compression in FORMATS.items() if name.endswith(ending)), None)


def _where(env: Environment, place: str, *, given: bool = False) -> list[Path]:
    """Return the paths that a text may mean, the preferred one first.

    Args:
        place: the path as it was given.
        given: whether it was on the command line rather than in the inventory.
    """
    bases = (here() if given else env.folder, env.project)
    return list(dict.fromkeys(Path(os.path.normpath(base.absolute() / own_path(place))) for base in bases))


def _template(env: Environment) -> str:
    if env.settings.artifact is None:
        raise UsageError(
            f"nothing says where {env.name}'s versions are",
            hint="give --artifact=PATH, or set slipway_artifact, e.g. dist/app-{version}.tar.zst",
        )
    return env.settings.artifact


def _in_place(env: Environment, version: str) -> str:
    return quote(version, safe="") if _template(env).startswith(("http://", "https://")) else version


def _local(env: Environment, source: str, version: str | None, expected: str | None, *, given: bool) -> Artifact:
    places = _where(env, source, given=given)
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        known = _versions(env)
        what = f"version {version} of {env.settings.app}" if version else "the artifact"
        hint = f"versions there are: {', '.join(known[-8:])}" if known else _meant(env, given=given)
        raise UsageError(f"{what} is not there: no file {', nor '.join(map(str, places))}", hint=hint)
    compression = _format(path.name)
    try:
        actual = file_sha256(path)
        expected = expected or _checksum_beside(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if expected and expected != actual:
        raise UsageError(
            f"{path} is damaged or not what was built: its SHA-256 is {actual}, expected {expected}",
            hint="build or fetch it again",
        )
    return Artifact(version or _version_of(path.name, actual), source, path, compression, actual, path.stat().st_size)


def _meant(env: Environment, *, given: bool) -> str:
    if given:
        return "--artifact takes a path from the folder you are in, or an http(s):// or s3:// URL"
    origin = env.inventory.origin(env.targets[0].name, "slipway_artifact")
    return f"slipway_artifact ({origin}) is a path from the inventory's folder, else from the project's, or a URL"


def _checksum_beside(path: Path) -> str | None:
    sidecar = path.with_name(path.name + ".sha256")
    if not sidecar.is_file():
        return None
    match = _CHECKSUM.match(sidecar.read_text(encoding="utf-8", errors="replace").strip().lower())
    if not match:
        raise UsageError(f"{sidecar} holds no SHA-256 checksum", hint=f"sha256sum {path.name} > {sidecar.name}")
    return match[1]


def _remote(env: Environment, source: str, version: str | None, expected: str | None) -> Artifact:
    """Return an artifact that hosts fetch. Make the request here, so that a missing secret fails before any host."""
    for text in secret_parts(source):
        env.secrets.strike(text)
    store = _store(env, source)
    request = store.request()
    for _, value in request.headers:
        env.secrets.strike(value)
    source = shown(source)
    name = source.rsplit("/", 1)[-1]
    compression = _format(name)
    checksum = expected or _in_sidecar(store.checksum(), source)
    found = version or _version_of(name, checksum)
    return Artifact(found, source, None, compression, checksum, 0, shown(request.url), store)


def _store(env: Environment, source: str) -> Store:
    pull = env.settings.pull
    if not source.startswith("s3://"):
        return WebStore(source, pull, env.secrets)
    found = ObjectInStore(source, Bucket(pull.s3, env.secrets))
    found.require()
    return found


def _in_sidecar(text: str, source: str) -> str:
    match = _CHECKSUM.match(text.strip().lower())
    if not match:
        raise UsageError(f"no checksum for {source}: {source}.sha256: it holds none", hint="give --sha256=…")
    return match[1]


def _format(name: str) -> str:
    compression = compression_of(name)
    if compression is not None:
        return compression
    raise UsageError(f"'{name}' has no known format; expected one of {', '.join(FORMATS)}")


def _version_of(name: str, sha256: str) -> str:
    match = _IN_NAME.search(name)
    return match[1] if match and VERSION.fullmatch(match[1]) else f"sha-{sha256[:12]}"


def _versions(env: Environment) -> list[str]:
    """Return the versions with an artifact here or in an object store, oldest first. A web server has no list."""
    template = env.settings.artifact
    if template is None or template.count("{version}") != 1:
        return []
    if template.startswith("s3://"):
        bucket, key = split(template)
        prefix, after = key.split("{version}")
        names = Bucket(env.settings.pull.s3, env.secrets).names(bucket, prefix)
        return _sorted_versions(names, prefix, after)
    if "://" in template:
        return []
    there: list[str] = []
    for path in _where(env, template):
        before, after = str(path).split("{version}")
        folder = Path(before + "x").parent
        prefix = Path(before + "x").name[:-1]
        if folder.is_dir() and "/" not in after:
            there += [entry.name for entry in folder.iterdir()]
    return _sorted_versions(dict.fromkeys(there), prefix, after)


def _sorted_versions(names: Iterable[str], prefix: str, after: str) -> list[str]:
    found = [name[len(prefix) : -len(after) or None] for name in names if _fits(name, prefix, after)]
    return in_order(found)


def _fits(name: str, prefix: str, ending: str) -> bool:
    middle = name[len(prefix) : len(name) - len(ending)]
    return name.startswith(prefix) and name.endswith(ending) and bool(VERSION.fullmatch(middle))


def _newest(env: Environment, without: Mapping[str, str]) -> tuple[str, str]:
    _template(env)
    there = _versions(env)
    left = {version: why for version, why in without.items() if version in there}
    found = newest(version for version in there if version not in left)
    if found.version is None and left and len(left) == len(there):
        told = "; ".join(f"{version} was {why}" for version, why in left.items())
        raise UsageError(
            f"every version that there is was taken back: {told}; nothing was touched",
            hint=f"build a new one; --version={list(left)[-1]} deploys that one all the same",
        )
    if found.version is None:
        rivals = f": {', '.join(found.rivals)}" if found.rivals else ""
        hint = "a web server does not list what it has" if _template(env).startswith("http") else None
        raise UsageError(
            f"give --version=… or --artifact=…: no version can be chosen by itself, {found.why}{rivals}", hint=hint
        )
    newer = [version for version in reversed(there[there.index(found.version) :]) if version in left]
    passed = ", ".join(f"{version} (it was {left[version]})" for version in newer[:MAX_PASSED])
    more = f" and {len(newer) - MAX_PASSED} more that were taken back" if len(newer) > MAX_PASSED else ""
    return found.version, f"{found.why}, past {passed}{more}" if passed else found.why
