"""How a release changes its database (C1)."""

from pydantic import Field

from playbooks.settings.types import Count, DatabaseName, Duration, Model, ReleasePath, Text, section


class RehearsalSettings(Model):
    """What a deploy with pending migrations asks of their rehearsal (`invoke rehearse`)."""

    required: bool = Field(
        False, description="Whether such a deploy is refused without one. --unrehearsed=REASON overrules it."
    )
    max_age: Duration = Field(86400.0, description="How old the rehearsal may be.")
    lock: Duration = Field(
        2.0, description="How long a migration may keep those waiting who read or write a table, in the rehearsal."
    )
    table_mb: Count = Field(10, description="Smaller tables may be locked for longer, in MB.")


class Migrations(Model):
    """The migrations of a database: SQL files in the artifact. See docs/migrations.md."""

    folder: ReleasePath = Field(
        description="The folder in the release with the files, ID_NAME.up.sql and ID_NAME.down.sql."
    )
    user: DatabaseName | None = Field(
        None,
        description="The database user that migrates, and owns what is made. Default: the database's `owner`.",
    )
    password: Text | None = Field(
        None, description="Name of the secret that holds this user's password. Default: `owner_password`."
    )
    lock_timeout: Duration = Field(
        1.0,
        ge=0.01,
        le=60,
        description="How long a statement waits for a lock. While it waits, everybody else waits behind it. Then it is "
        "given up and tried again.",
    )
    patience: Duration = Field(
        300.0, description="How long to try again for a lock before the migration fails, with growing pauses."
    )
    statement_timeout: Duration = Field(3600.0, gt=0, description="How long a statement may take.")
    rehearsal: RehearsalSettings = section("What a deploy asks of the rehearsal.")
