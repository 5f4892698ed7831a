"""Secrets of an inventory that is not trusted: their names are known, their values are never read."""

from __future__ import annotations

from playbooks.adapters.secrets.sources import Secrets
from playbooks.core.errors import ConfigError
from playbooks.inventory import FLAG


class Withheld(Secrets):
    """A placeholder for each secret. Nothing is struck out of what is shown: there is no secret in it."""

    def __getitem__(self, name: str) -> str:
        if name not in self:
            known = ", ".join(sorted(self)) or "none"
            raise ConfigError([f"secret '{name}' is used but not set; slipway_secrets has: {known}"])
        return f"<secret {name}: not read, {FLAG}>"

    def lines(self, name: str) -> str:
        """The same placeholder, as a line."""
        return f"{self[name]}\n"

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def mask(self, text: str) -> str:
        """The text as it is."""
        return text
