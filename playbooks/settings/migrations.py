"""How a release changes its database (C1)."""

from datetime import time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field

from playbooks.settings.types import Count, DatabaseName, Duration, Model, ReleasePath, Text, section

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _clock(value: object) -> object:
    # YAML 1.1 reads 2:30 as a number in base 60.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        value = f"{value // 60:02}:{value % 60:02}"
    try:
        return time.fromisoformat(str(value).zfill(5))
    except ValueError:
        raise ValueError("expected a time of day such as 02:30") from None


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected the name of a time zone, such as Europe/Berlin or UTC") from None
    return value


ClockTime = Annotated[time, BeforeValidator(_clock)]


class WindowSettings(Model):
    """When a deploy may migrate. At other times a deploy with pending migrations is refused."""

    days: list[Day] = Field(
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        min_length=1,
        description="The days on which it opens: mon, tue, wed, thu, fri, sat, sun.",
    )
    opens: ClockTime = Field(description="When it opens, e.g. 02:30.")
    closes: ClockTime = Field(description="When it closes. If that is before it opens, on the next day.")
    zone: Annotated[Text, AfterValidator(_zone)] = Field("UTC", description="The time zone, e.g. Europe/Berlin.")


class RehearsalSettings(Model):
    """What a deploy with pending migrations asks of their rehearsal (`invoke rehearse`)."""

    required: bool = Field(
        False, description="Whether such a deploy is refused without one. --overrule=REASON overrules it."
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
    window: WindowSettings | None = Field(None, description="When deploys may migrate it. Default: at any time.")
