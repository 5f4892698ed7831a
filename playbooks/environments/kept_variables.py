"""Find the environment variables that a scheduled run needs, because it runs without this shell."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from playbooks.core.surroundings import here, own_path
from playbooks.environments.environment import Environment
from playbooks.settings.model import EnvSecret

_HASH_BEHAVIOUR = "ANSIBLE_HASH_BEHAVIOUR"
_VAULT_FILE = "ANSIBLE_VAULT_PASSWORD_FILE"
_VAULT_LIST = "ANSIBLE_VAULT_IDENTITY_LIST"


def kept_variables(env: Environment, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return variables without which the inventory would differ or be unreadable. None of them is a secret.

    Args:
        env: the environment.
        environ: os.environ if None.
    """
    environ = os.environ if environ is None else environ
    kept = {}
    # The present value may come from a variable or from this folder's ansible.cfg; the scheduled run must use it too.
    if env.inventory.merges or _HASH_BEHAVIOUR in environ:
        kept[_HASH_BEHAVIOUR] = "merge" if env.inventory.merges else "replace"
    if environ.get(_VAULT_FILE):
        kept[_VAULT_FILE] = _absolute(environ[_VAULT_FILE])
    if environ.get(_VAULT_LIST):
        kept[_VAULT_LIST] = ",".join(
            _identity(part.strip()) for part in environ[_VAULT_LIST].split(",") if part.strip()
        )
    return kept


def lacking(env: Environment, environ: Mapping[str, str] | None = None) -> Iterator[str]:
    """Return sentences about what a later run will lack, and what to do about it."""
    environ = os.environ if environ is None else environ
    for name, source in env.settings.secrets.items():
        if isinstance(source, EnvSecret):
            yield (
                f"secret '{name}' is in the environment variable {source.env}, which a schedule does not have; "
                f"keep it in a file: slipway_secrets.{name}: {{file: PATH}}"
            )
    by_agent = [target.name for target in env.targets if target.address.key_file is None]
    if environ.get("SSH_AUTH_SOCK") and by_agent:
        yield (
            f"your SSH agent is not there when a schedule runs, and the inventory names no key for {by_agent[0]}"
            f"{' and others' if len(by_agent) > 1 else ''}: is there one in ~/.ssh that needs no passphrase?"
        )


def _identity(entry: str) -> str:
    label, at, file = entry.rpartition("@")
    return f"{label}{at}{_absolute(file)}"


def _absolute(file: str) -> str:
    return os.path.normpath(Path(here(), own_path(file)))
