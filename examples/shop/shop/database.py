"""PostgreSQL: a pool of connections, and whether it has what this release asks for."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pg8000.exceptions import DatabaseError, Error
from pg8000.native import Connection

from shop.settings import Settings

LOG = logging.getLogger(__name__)
ANSWER_SECONDS = 2  # one answer of the server
PROBE_SECONDS = 0.4  # A4: health answers within 0.5 s


class DatabaseUnavailable(Exception):
    """The database did not do what was asked; the message holds no secret."""


class Database:
    """The shop's database.

    Args:
        settings: where it is.
        sql: folder of the release's statements.
    """

    def __init__(self, settings: Settings, sql: Path) -> None:
        self._settings = settings
        self._sql = {path.stem: path.read_text(encoding="utf-8") for path in sql.glob("*.sql")}
        self._idle: queue.LifoQueue[tuple[Connection, float]] = queue.LifoQueue()
        self._probe_lock = threading.Lock()
        self._probe: Future[str | None] | None = None

    def query(self, name: str, **values: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # what SQL takes
        """Run one of the release's statements.

        Returns:
            Its rows by column name.

        Raises:
            DatabaseUnavailable: it could not be run.
        """
        with self._connection() as connection:
            rows = connection.run(self._sql[name], **values) or []
            names = [column["name"] for column in connection.columns or []]
            return [dict(zip(names, row, strict=True)) for row in rows]

    def why_not_ready(self) -> str | None:
        """Ask whether the database answers, and has every column that this release uses.

        Returns:
            What is wrong, or None, within PROBE_SECONDS: whatever the network or a name server does meanwhile.
        """
        with self._probe_lock:
            if self._probe is None or self._probe.done():
                self._probe = Future()
                threading.Thread(target=self._answer_probe, args=(self._probe,), daemon=True).start()
            probe = self._probe
        try:
            return probe.result(timeout=PROBE_SECONDS)
        except TimeoutError:
            return f"the database does not answer within {PROBE_SECONDS} s"

    def _answer_probe(self, probe: Future[str | None]) -> None:
        try:
            self.query("ready")
        except DatabaseUnavailable as error:
            probe.set_result(str(error))
        except Exception:
            LOG.exception("the readiness check failed")
            probe.set_result("the readiness check failed")
        else:
            probe.set_result(None)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            connection = self._take()
        except (Error, OSError) as error:
            raise DatabaseUnavailable(_reason(error)) from None
        try:
            yield connection
        except (Error, OSError) as error:
            _close(connection)
            raise DatabaseUnavailable(_reason(error)) from None
        except BaseException:
            _close(connection)
            raise
        self._idle.put((connection, time.monotonic()))

    def _take(self) -> Connection:
        """An idle connection that still works, or a new one."""
        while True:
            try:
                connection, since = self._idle.get_nowait()
            except queue.Empty:
                return self._connect()
            if time.monotonic() - since < 1:
                return connection
            try:
                connection.run("SELECT 1")
            except (Error, OSError):  # the server was restarted, say: the others are as dead, and each costs a time-out
                _close(connection)
                self._forget_idle()
            else:
                return connection

    def _forget_idle(self) -> None:
        while True:
            try:
                _close(self._idle.get_nowait()[0])
            except queue.Empty:
                return

    def _connect(self) -> Connection:
        at = self._settings
        socket = f"{at.db_host}/.s.PGSQL.{at.db_port}" if at.db_host.startswith("/") else None
        return Connection(
            at.db_user,
            host=at.db_host,
            port=at.db_port,
            unix_sock=socket,
            database=at.db_name,
            password=at.db_password,
            timeout=ANSWER_SECONDS,
            application_name="shop",
        )


def _close(connection: Connection) -> None:
    try:
        connection.close()
    except (Error, OSError):
        LOG.debug("a broken connection was dropped")


def _reason(error: Exception) -> str:
    """What went wrong, fit to be shown: no address, no user, no password."""
    details = error.args[0] if error.args else None
    if isinstance(error, DatabaseError) and isinstance(details, dict):
        code = str(details.get("C", ""))
        if code.startswith(("28", "3D")):
            return "the database refuses the login"
        return f"the database says: {details.get('M', 'error')} ({code})"
    return "the database does not answer"
