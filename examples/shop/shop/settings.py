"""Settings, all from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LEVELS = ("debug", "info", "warning", "error")


class SettingsError(Exception):
    """A variable has a value that cannot be used; the message names it."""


@dataclass(frozen=True)
class Settings:
    """What the shop is told by its environment.

    Args:
        host: address to listen on.
        port: port to listen on.
        db_host: database server, or the folder of its Unix socket.
        db_password: never shown.
        data_dir: folder for the visit counter; None: visits are not counted.
        work_seconds: what a page or an order takes besides the database, as a stand-in for real work.
    """

    host: str
    port: int
    db_host: str
    db_port: int
    db_name: str
    db_user: str
    db_password: str | None = field(repr=False)
    log_level: str
    data_dir: Path | None
    work_seconds: float


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a variable holds what it cannot hold.
    """
    host, _, port = environ.get("SHOP_LISTEN", "127.0.0.1:8080").rpartition(":")
    level = environ.get("SHOP_LOG_LEVEL", "info").lower()
    if level not in LEVELS:
        raise SettingsError(f"SHOP_LOG_LEVEL={level!r}: expected one of {', '.join(LEVELS)}")
    data_dir = environ.get("SHOP_DATA_DIR")
    return Settings(
        host=host.strip("[]") or "0.0.0.0",  # noqa: S104  # ":8080" means every address, as everywhere
        port=_port("SHOP_LISTEN", port),
        db_host=environ.get("SHOP_DB_HOST", "127.0.0.1"),
        db_port=_port("SHOP_DB_PORT", environ.get("SHOP_DB_PORT", "5432")),
        db_name=environ.get("SHOP_DB_NAME", "shop"),
        db_user=environ.get("SHOP_DB_USER", "shop"),
        db_password=environ.get("SHOP_DB_PASSWORD") or None,
        log_level=level,
        data_dir=Path(data_dir) if data_dir else None,
        work_seconds=_milliseconds("SHOP_WORK_MS", environ.get("SHOP_WORK_MS", "0")) / 1000,
    )


def _port(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise SettingsError(f"{name}: {text!r} is no port")
    return int(text)


def _milliseconds(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 10_000:
        raise SettingsError(f"{name}: {text!r} is no number of milliseconds up to 10000")
    return int(text)
