"""How one database is backed up (C3)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from playbooks.settings.migrations import VariableName
from playbooks.settings.types import Duration, Model, Text

Command = Annotated[Text, Field(min_length=1)]


class DumpSettings(Model):
    """A database's backup is a dump by `pg_dump`, in the restic repository."""

    method: Literal["dump"] = Field("dump", description="This method.")


class CommandSettings(Model):
    """A database's backup is a snapshot by commands of your own, such as a cloud's. Each command is a line for sh, on
    the host `via`.
    """

    method: Literal["command"] = Field(description="This method.")
    create: Command = Field(description="Makes a snapshot. The last line of its output is the snapshot's id.")
    wait: Command | None = Field(None, description="Ends when the snapshot $SLIPWAY_SNAPSHOT can be restored.")
    list: Command = Field(description="Writes the ids of all snapshots that there are, one in each line.")
    restore: Command = Field(
        description="Puts $SLIPWAY_SNAPSHOT in the place of the database, and ends when the database serves again."
    )
    delete: Command = Field(description="Deletes $SLIPWAY_SNAPSHOT, when `slipway_backup.keep` keeps it no longer.")
    drill: Command | None = Field(
        None,
        description="Restores $SLIPWAY_SNAPSHOT beside what runs, tries it, and removes it; status 0 if it is good. "
        "Default: `verify-backups` only proves that the snapshot is there.",
    )
    user: Literal["app", "root"] = Field(
        "app", description="The user that runs them: root, or app for the application's user without any privilege."
    )
    environment: dict[VariableName, Text] = Field({}, description="Environment variables for them, no secrets.")
    secrets: dict[VariableName, Text] = Field(
        {}, description="Environment variables for them, each naming a secret (CLOUD_TOKEN: cloud_token)."
    )
    timeout: Duration = Field(600.0, gt=0, description="Time limit of each of them.")

    @model_validator(mode="after")
    def _secrets_are_roots(self) -> Self:
        if self.secrets and self.user != "root":
            raise ValueError(
                "secrets go with user: root, since the application's user could read them while a command runs"
            )
        return self

    @property
    def commands(self) -> dict[str, str]:
        """The commands by what they do."""
        kinds = ("create", "wait", "list", "restore", "delete", "drill")
        return {kind: command for kind in kinds if (command := getattr(self, kind))}


class PgBackRestSettings(Model):
    """A database's backup is a restore point in the WAL that pgBackRest archives, beside its incremental base backups.
    It is of the whole server (cluster), which pgBackRest must be set up for: docs/backups.md.
    """

    method: Literal["pgbackrest"] = Field(description="This method.")
    stanza: Text = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="The stanza of the server in pgBackRest's configuration."
    )
    archive_timeout: Duration = Field(
        60.0, gt=0, description="How long the WAL of a restore point may take to come into the archive."
    )


DatabaseBackup = Annotated[DumpSettings | PgBackRestSettings | CommandSettings, Field(discriminator="method")]
