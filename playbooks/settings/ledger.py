"""Whose records are believed, and who signs them."""

from typing import Annotated

from pydantic import AfterValidator, Field

from playbooks.core.sshsig import read_public_key
from playbooks.settings.types import Model, Text


def _public_key(value: str) -> str:
    read_public_key(value)
    return value


SignerKey = Annotated[Text, AfterValidator(_public_key)]


class LedgerSettings(Model):
    """The history: who may write it. See docs/history.md."""

    signers: list[SignerKey] = Field(
        [],
        description="Public keys of the people, and of CI, who may write history: `ssh-ed25519 AAAA… name` each, as "
        "`ssh-add -L` prints them. A record that none of them has signed is a fault then.",
    )
    key: Text | None = Field(
        None,
        description="Name of the secret that holds a private key of the environment's (OpenSSH's format, without a "
        "passphrase). It signs where the SSH agent has no key that may.",
    )
    require: bool | None = Field(
        None,
        description="Refuse a task that could not sign its record, before anything is touched; left out: where there "
        "are `signers`.",
    )

    @property
    def required(self) -> bool:
        """Whether a record must be signed."""
        return bool(self.signers) if self.require is None else self.require
