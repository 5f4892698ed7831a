"""Define the codes of steps' failures: ``step.`` and a word from the step's script or its Python function.

docs/errors.md explains each; a test compares it with this file, and this file with the scripts.
Never rename a code, because people's programs decide by it.
"""

from __future__ import annotations

from enum import StrEnum

_PREFIX = "step."


class StepCode(StrEnum):
    """Why a step failed."""

    FAILED = "step.failed"  # without a word, or with an unknown one
    TIMEOUT = "step.timeout"
    CUT = "step.cut"
    USAGE = "step.usage"
    MISSING_TOOL = "step.missing-tool"
    OLD_HOST = "step.old-host"
    NEWER_FORMAT = "step.newer-format"
    UNWRITABLE = "step.unwritable"
    NO_SPACE = "step.no-space"
    NO_INODES = "step.no-inodes"
    NOT_ROOTS = "step.not-roots"
    UNSAFE_PATH = "step.unsafe-path"
    FOREIGN_LINK = "step.foreign-link"
    BUSY = "step.busy"
    EXISTS = "step.exists"
    # before anything changes
    PREFLIGHT = "step.preflight"
    NO_USER = "step.no-user"
    BAD_UNIT = "step.bad-unit"
    UNIT_TAKEN = "step.unit-taken"
    UNIT_PATH = "step.unit-path"
    # staging
    CHECKSUM = "step.checksum"
    DAMAGED_ARCHIVE = "step.damaged-archive"
    HOSTILE_ARCHIVE = "step.hostile-archive"
    HOSTILE_LINK = "step.hostile-link"
    LARGE_WINDOW = "step.large-window"
    UNDECLARED_CAPABILITIES = "step.undeclared-capabilities"
    UNDECLARED_ACL = "step.undeclared-acl"
    KEPT_ATTRIBUTE = "step.kept-attribute"
    UNPACK = "step.unpack"
    NO_BASE = "step.no-base"
    FETCH = "step.fetch"
    FETCH_GONE = "step.fetch-gone"
    FETCH_REFUSED = "step.fetch-refused"
    FETCH_TLS = "step.fetch-tls"
    HOOK = "step.hook"
    NOT_ADOPTED = "step.not-adopted"
    # the lock and the guard
    FENCED = "step.fenced"
    GUARDED = "step.guarded"
    GUARD = "step.guard"
    STAYS = "step.stays"
    # the switch, and what comes after it
    MOVED = "step.moved"
    INCOMPLETE = "step.incomplete"
    CURRENT = "step.current"
    IDLE = "step.idle"
    RELOAD = "step.reload"
    UNHEALTHY = "step.unhealthy"
    COLD = "step.cold"
    # traffic
    BALANCER = "step.balancer"
    UNKNOWN_SERVER = "step.unknown-server"
    NO_SERVER = "step.no-server"
    UNANSWERED = "step.unanswered"
    UNSERVED = "step.unserved"
    HEADROOM = "step.headroom"
    # backups
    RESTIC = "step.restic"
    WRONG_PASSWORD = "step.wrong-password"  # noqa: S105 - a code
    NO_REPOSITORY = "step.no-repository"
    NO_ANSWER = "step.no-answer"
    LOCKED = "step.locked"
    NO_PATH = "step.no-path"
    NO_RELEASE = "step.no-release"
    BAD_EXCLUDE = "step.bad-exclude"
    SQLITE = "step.sqlite"
    SQLITE_TYPE = "step.sqlite-type"
    SQLITE_CLOSED = "step.sqlite-closed"
    SQLITE_WAL = "step.sqlite-wal"
    DATABASE = "step.database"
    PG_VERSION = "step.pg-version"
    REPLICA = "step.replica"
    ARCHIVING = "step.archiving"
    STANZA = "step.stanza"
    PGBACKREST = "step.pgbackrest"
    CLUSTER = "step.cluster"
    CLUSTER_DOWN = "step.cluster-down"
    RESTORING = "step.restoring"
    SNAPSHOT = "step.snapshot"
    DAMAGED = "step.damaged"
    NOT_IN_BACKUP = "step.not-in-backup"
    NOT_EMPTY = "step.not-empty"
    # migrations
    NO_MIGRATIONS = "step.no-migrations"
    MIGRATION = "step.migration"
    MIGRATION_HALF = "step.migration-half"
    MIGRATION_LOCK = "step.migration-lock"
    MIGRATION_BUSY = "step.migration-busy"
    MIGRATION_MOVED = "step.migration-moved"
    MIGRATION_POOLER = "step.migration-pooler"
    MIGRATION_UNKNOWN = "step.migration-unknown"
    MIGRATION_TABLE = "step.migration-table"
    MIGRATION_TOOL = "step.migration-tool"
    # the ledger
    RECORD = "step.record"
    THERE = "step.there"
    # looking
    NOTHING = "step.nothing"
    NO_UNIT = "step.no-unit"
    JOURNAL = "step.journal"
    # provision
    USER = "step.user"
    PACKAGES = "step.packages"
    SUDOERS = "step.sudoers"
    CERTIFICATE = "step.certificate"
    NEIGHBOUR = "step.neighbour"

    @property
    def word(self) -> str:
        """Return the script's word for it."""
        return self.value.removeprefix(_PREFIX)

    @classmethod
    def of_word(cls, word: str) -> StepCode:
        """Return the code of a script's word; an unknown word counts as a plain failure."""
        try:
            return cls(_PREFIX + word)
        except ValueError:
            return cls.FAILED
