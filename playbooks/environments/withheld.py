"""Stand in for the secrets of an untrusted inventory: the names are known, the values are never read."""

from __future__ import annotations

from playbooks.adapters.secrets.sources import Secrets
from playbooks.core.errors import ConfigError
from playbooks.inventory import FLAG


class Withheld(Secrets):
    """A placeholder for each secret. Output needs no masking, because no secret was read."""

    def __getitem__(self, name: str) -> str:
        if name not in self:
            known = ", ".join(sorted(self)) or "none"
            raise ConfigError([f"secret '{name}' is used but not set; slipway_secrets has: {known}"])
        return f"<secret {name}: not read, {FLAG}>"

    def lines(self, name: str) -> str:
        """Return the same placeholder as a line."""
        return f"{self[name]}\n"

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def mask(self, text: str) -> str:
        """Return the text unchanged."""
        return text
