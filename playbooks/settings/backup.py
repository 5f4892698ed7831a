"""What is backed up, where to, and for how long (A2)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from playbooks.settings.database_backup import DatabaseBackup, DumpSettings
from playbooks.settings.migrations import Migrations, VariableName
from playbooks.settings.types import (
    FLEET_WIDE,
    AbsolutePath,
    Count,
    DatabaseName,
    Duration,
    Model,
    Pattern,
    Port,
    ServedBy,
    Text,
    section,
)


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
    engine: Literal["postgresql"] = Field("postgresql", description="The kind of database.")
    # Not "on": YAML 1.1 reads that key as true.
    via: Pattern = Field(description="Pattern of the one inventory host that dumps and restores it.")
    host: Text | None = Field(None, description="Server's address. Default: the local socket, as the user postgres.")
    port: Port = Field(5432, description="Server's port.")
    user: Text = Field(
        "postgres", description="User that dumps. The user must be allowed to create databases for the drill."
    )
    password: Text | None = Field(None, description="Name of the secret that holds the password.")
    served_by: ServedBy | None = Field(
        None,
        description="Name or number of another user of the host `via` whose program may be told the password, where "
        "`host` is that host itself; say a pooler's.",
    )
    owner: DatabaseName | None = Field(
        None,
        description="The application's database user. Provision makes this user, and the database with this owner.",
    )
    owner_password: Text | None = Field(None, description="Name of the secret that holds the owner's password.")
    checks: list[Text] = Field(
        [],
        description="Queries for the drill, and for the migrated copy of a rehearsal. Each must answer one row whose "
        "first column is true.",
    )
    min_tables: Count = Field(1, description="The drill fails if the restored dump has fewer tables.")
    backup: DatabaseBackup = section(
        "How it is backed up and restored: its `method` is dump, pgbackrest or command.", method="dump"
    )
    migrations: Migrations | None = Field(None, description="How releases change it. Default: not at all.")

    @model_validator(mode="after")
    def _fits_its_backup(self) -> Self:
        if self.backup.method == "pgbackrest" and self.host:
            raise ValueError(
                "backup.method pgbackrest works on the server's own host, by its socket: let via name that host, and "
                "leave out host"
            )
        if self.backup.method != "dump" and self.migrations and self.migrations.rehearsal.required:
            raise ValueError(
                f"rehearsal.required needs backup.method dump; a rehearsal cannot use what {self.backup.method} makes"
            )
        return self

    @model_validator(mode="after")
    def _socket_needs_no_password(self) -> Self:
        if self.password and not self.host:
            raise ValueError("password is only used with host; leave it out for the local socket")
        if self.owner_password and not self.owner:
            raise ValueError("owner_password needs owner")
        return self

    @model_validator(mode="after")
    def _migrations_have_a_user(self) -> Self:
        if self.migrations and not self.migrations.by_tool and not self.migrating_user:
            raise ValueError("migrations need owner and owner_password, or user and password of their own")
        return self

    @property
    def migrating_user(self) -> tuple[str, str] | None:
        """The database user that migrates, and the name of the secret that holds its password."""
        if self.migrations is None:
            return None
        if self.migrations.user or self.migrations.password:
            pair = (self.migrations.user or self.owner, self.migrations.password)
        else:
            pair = (self.owner, self.owner_password)
        return (pair[0], pair[1]) if pair[0] and pair[1] else None

    @property
    def reader(self) -> tuple[str, str] | None:
        """The database user that counts what a dump has, and the name of the secret that holds its password."""
        known = self.owner and self.owner_password and isinstance(self.backup, DumpSettings)
        return (self.owner or "", self.owner_password or "") if known else None

    @model_validator(mode="after")
    def _is_no_drills(self) -> Self:
        if self.name.startswith(SCRATCH_DATABASE):
            raise ValueError(
                f"names that begin with {SCRATCH_DATABASE} are those of scratch databases, which drills drop"
            )
        return self


class Drill(Model):
    """How `verify-backups` tests a restored release."""

    command: Text | None = Field(
        None,
        description="Starts the restored release on a spare port, from its folder, as the application's user. It "
        "gets $PORT and $RELEASE, and the same values as $DRILL_PORT and $DRILL_RELEASE for releases "
        "whose own files set PORT. It sees the restored release and data at their own paths. From the "
        "host it sees only /usr and what programs need of /etc, read-only. Default: the drill compares "
        "the release's files, but does not start it.",
    )
    environment: dict[VariableName, Text] = Field(
        {},
        description="Environment of the command. {database} is the scratch copy of the application's first database, "
        "{database.NAME} that of another one.",
    )
    read_only: list[AbsolutePath] = Field(
        [],
        description="Other paths of the host that the command may read, for instance a language's runtime in /opt. "
        "Only root may be able to replace them.",
    )
    folder: AbsolutePath | None = Field(
        None,
        description="The folder for restored backups during a drill. Only root may be able to write to its path. Its "
        "file system needs space for one whole backup. Default: /var/lib/slipway/<app>.",
    )
    url: Text = Field("http://127.0.0.1:{port}/", description="The URL that must answer. {port} is the spare port.")
    status: int = Field(200, ge=100, le=599, description="The status that it must answer.")
    timeout: Duration = Field(30.0, gt=0, description="How long the start may take.")


class Backup(Model):
    """Backups by restic on each host."""

    enabled: bool = Field(
        True,
        description="Whether deploys back up first. Turn it off only for environments whose data you do not need.",
        json_schema_extra=FLEET_WIDE,
    )
    repository: Text = Field(
        "/var/backups/slipway/{app}",
        description="The restic repository as the host reaches it: a folder, s3:…, sftp:… or rest:…. {app} and "
        "{host} are replaced.",
    )
    password: Text = Field("restic_password", description="Name of the secret that holds the repository's password.")
    environment: dict[VariableName, Text] = Field(
        {},
        description="Environment variables for restic, each naming a secret (AWS_ACCESS_KEY_ID: s3_key).",
    )
    after_deploy: bool = Field(
        True,
        description="Whether hosts back up a release in the background after a good deploy. The next deploy then "
        "only proves that nothing has changed since. Without effect if there are databases.",
        json_schema_extra=FLEET_WIDE,
    )
    paths: list[AbsolutePath] = Field(
        [],
        description="Data folders to back up with the release. A link in the path is followed only if only root can "
        "make it.",
    )
    sqlite: list[AbsolutePath] = Field(
        [], description="SQLite databases, copied by SQLite's backup API as the application's user."
    )
    exclude: list[Text] = Field(
        [],
        description="Data that is not backed up, as restic's patterns (* is part of a name, ** any folders). A "
        "pattern that begins with / names a path in a data folder. Any other pattern matches at every "
        "depth of all data folders. A release is always backed up whole.",
    )
    keep: Keep = section("Retention.")
    max_age: Duration = Field(
        21600.0,
        description="If a deploy's backup fails, the deploy goes on only if there is a backup younger than this.",
        json_schema_extra=FLEET_WIDE,
    )
    drill: Drill = section("The restore drill.")
