"""What is backed up, where to, and for how long (A2)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from playbooks.settings.types import AbsolutePath, Count, DatabaseName, Duration, Model, Pattern, Port, Text, section

# POSIX: what a shell can export.
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Keep(Model):
    """Retention, in restic's own terms."""

    within: Text = Field("30d", pattern=r"^(\d+[ymdh])+$", description="Keep every backup younger than this.")
    last: Count = Field(3, ge=1, description="Keep at least this many, however old.")
    daily: Count = Field(0, description="Keep the last backup of this many days.")
    weekly: Count = Field(0, description="Keep the last backup of this many weeks.")
    monthly: Count = Field(0, description="Keep the last backup of this many months.")


# Begins the names of databases that drills load dumps into.
SCRATCH_DATABASE = "slipway_drill_"


class Database(Model):
    """A database that belongs to the application."""

    name: DatabaseName = Field(description="Its name.")
    engine: Literal["postgresql"] = Field("postgresql", description="What kind it is.")
    # Not "on": YAML 1.1 reads that key as true.
    via: Pattern = Field(description="Pattern of the one inventory host that dumps and restores it.")
    host: Text | None = Field(None, description="Server's address; left out: the local socket, as the user postgres.")
    port: Port = Field(5432, description="Server's port.")
    user: Text = Field("postgres", description="User that dumps; it must be able to create databases for the drill.")
    password: Text | None = Field(None, description="Name of the secret that holds the password.")
    owner: DatabaseName | None = Field(
        None, description="The application's database user; provision makes it, and the database as its own."
    )
    owner_password: Text | None = Field(None, description="Name of the secret that holds the owner's password.")
    checks: list[Text] = Field(
        [],
        description="Sanity queries for the drill: each must answer one row whose first column is true.",
    )
    min_tables: Count = Field(1, description="The drill fails when the restored dump has fewer tables.")

    @model_validator(mode="after")
    def _socket_needs_no_password(self) -> Self:
        if self.password and not self.host:
            raise ValueError("password is only used with host; leave it out for the local socket")
        if self.owner_password and not self.owner:
            raise ValueError("owner_password needs owner")
        return self

    @model_validator(mode="after")
    def _is_no_drills(self) -> Self:
        if self.name.startswith(SCRATCH_DATABASE):
            raise ValueError(
                f"names that begin with {SCRATCH_DATABASE} are those of scratch databases, which drills drop"
            )
        return self


class Drill(Model):
    """How `verify-backups` tries a restored release."""

    command: Text | None = Field(
        None,
        description="Starts the restored release on a spare port, from its folder as the application's user. "
        "$PORT and $RELEASE are set, and the same as $DRILL_PORT and $DRILL_RELEASE, which no file that it reads sets "
        "anew. It sees the restored release and data at their own paths, and of the host "
        "nothing but /usr and what programs need of /etc, read-only. "
        "Left out: the release's files are compared, but it is not started.",
    )
    environment: dict[VariableName, Text] = Field(
        {},
        description="Environment of the command. {database} is the scratch copy of the application's (first) database, "
        "{database.NAME} that of another.",
    )
    read_only: list[AbsolutePath] = Field(
        [],
        description="What else of the host the command may read, for instance a language's runtime in /opt. Nobody "
        "but root may be able to replace it.",
    )
    folder: AbsolutePath | None = Field(
        None,
        description="Where backups are restored to for a drill, in a place that root alone can write to; its file "
        "system needs room for a whole one. Left out: /var/lib/slipway/<app>.",
    )
    url: Text = Field("http://127.0.0.1:{port}/", description="What must answer; {port} is the spare port.")
    status: int = Field(200, ge=100, le=599, description="The status it must answer.")
    timeout: Duration = Field(30.0, gt=0, description="How long it may take to come up.")


class Backup(Model):
    """Backups by restic on each host."""

    enabled: bool = Field(True, description="Whether deploys back up first. Turn off only for throw-away environments.")
    repository: Text = Field(
        "/var/backups/slipway/{app}",
        description="restic repository as the host reaches it: a folder, s3:…, sftp:… or rest:…; {app} and {host} are "
        "filled in.",
    )
    password: Text = Field("restic_password", description="Name of the secret that holds the repository's password.")
    environment: dict[VariableName, Text] = Field(
        {},
        description="Environment variables for restic, each naming a secret (AWS_ACCESS_KEY_ID: s3_key).",
    )
    after_deploy: bool = Field(
        True,
        description="Whether hosts back up a release in the background once it has proven healthy; the next deploy "
        "then only proves that nothing has changed since. Without effect where there are databases.",
    )
    paths: list[AbsolutePath] = Field(
        [],
        description="Data folders to back up with the release. A link on the way is followed where root alone can make "
        "it.",
    )
    sqlite: list[AbsolutePath] = Field(
        [], description="SQLite databases, copied by SQLite's backup API as the application's user."
    )
    exclude: list[Text] = Field(
        [],
        description="Data that is not backed up: restic's patterns (* is part of a name, ** any folders). One that "
        "begins with / is in a folder of data; any other counts at every depth of each. A release is always whole.",
    )
    keep: Keep = section("Retention.")
    max_age: Duration = Field(
        21600.0, description="A deploy whose backup fails goes on only if one younger than this exists."
    )
    drill: Drill = section("The restore drill.")
