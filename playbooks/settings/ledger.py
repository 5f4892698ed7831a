"""Whose records count, and who signs them."""

from typing import Annotated

from pydantic import AfterValidator, Field

from playbooks.core.sshsig import read_public_key
from playbooks.settings.types import Model, Text


def _public_key(value: str) -> str:
    read_public_key(value)
    return value


SignerKey = Annotated[Text, AfterValidator(_public_key)]


class LedgerSettings(Model):
    """Who may write the history. See docs/history.md."""

    signers: list[SignerKey] = Field(
        [],
        description="Public keys of the people and the CI that may write history, each as `ssh-add -L` prints it: "
        "`ssh-ed25519 AAAA… name`. With signers, a record that none of them has signed is a fault.",
    )
    key: Text | None = Field(
        None,
        description="Name of the secret that holds the environment's private key (OpenSSH's format, without a "
        "passphrase). It signs if the SSH agent has no key that may.",
    )
    require: bool | None = Field(
        None,
        description="Whether to refuse a task that cannot sign its record, before it changes anything. Default: yes "
        "if there are `signers`.",
    )

    @property
    def required(self) -> bool:
        """Whether a record must be signed."""
        return bool(self.signers) if self.require is None else self.require
