"""The kinds of value a setting can have, each with a sentence for what it expects.

No module of settings puts off its annotations: pydantic would have to parse each of them at every start.
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict

from playbooks.core.invisible import find_invisible

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


class Model(BaseModel):
    """Base of every settings model: frozen, and a misspelt key is an error, not a silence."""

    # Only the outermost model is ever asked to validate, so only it has a validator made.
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False, defer_build=True)


# Marks a field that says how the whole fleet is handled: hosts may not differ in it, so it may be read off any of them.
FLEET_WIDE: JsonDict = {"fleet_wide": True}


def stock(default: object, **field: Any) -> Any:  # noqa: ANN401 - the annotation beside it says what it is
    """A field whose default is written as a user would write it, and read as what he writes.

    Args:
        default: lists, mappings and text.
        field: what pydantic's Field takes.
    """
    return Field(default=default, validate_default=True, **field)


def section(description: str, **given: object) -> Any:  # noqa: ANN401
    """Settings of a topic, a model of their own.

    Args:
        description: what they are about.
        given: what holds where nobody says anything; the model's own defaults beside it.
    """
    return stock(given, description=description)


def fleet_section(description: str) -> Any:  # noqa: ANN401
    """The same, where all of them say how the whole fleet is handled."""
    return stock({}, description=description, json_schema_extra=FLEET_WIDE)


def parse_duration(value: object) -> object:
    """Turn ``"30s"``, ``"500ms"``, ``"5m"``, ``"24h"``, ``"30d"`` or a number of seconds into seconds."""
    if isinstance(value, bool) or not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if not match:
        raise ValueError("expected a duration such as 30s, 500ms, 5m, 24h or 30d")
    return float(match[1]) * _UNITS[match[2] or "s"]


def parse_percent(value: object) -> object:
    """Turn ``"1%"`` or ``"0.5 %"`` into a share, 0.01 or 0.005. A bare number might mean either."""
    match = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError("expected a percentage such as 1% or 0.5%")
    return float(match[1]) / 100


def _nothing_invisible(value: str) -> str:
    found = find_invisible(value)
    if found:
        raise ValueError(
            f"must not hold a newline, tab or other control character, nor what is not seen: it has {found}"
        )
    return value


def absolute_path(value: str) -> str:
    """A path below /, without ``..`` or a trailing slash.

    Raises:
        ValueError: it isn't one.
    """
    if not value.startswith("/") or ".." in value.split("/") or value.rstrip("/") == "":
        raise ValueError("expected an absolute path below /, without '..'")
    return value.rstrip("/")


def _plain_path(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._/{}-]+", value):
        raise ValueError("expected letters, digits and . _ - / only: systemd reads it in unit files")
    return value


def _relative(value: str) -> str:
    parts = value.split("/")
    if value.startswith("/") or ".." in parts or "" in parts or "." in parts or parts[0] == ".slipway":
        raise ValueError("expected a path inside the release, such as config/app.env")
    return value


def parse_batch(value: str) -> str:
    """A number of hosts, or a percentage of them.

    Raises:
        ValueError: it is neither.
    """
    match = re.fullmatch(r"([1-9]\d*)(%?)", value)
    if not match or (match[2] and int(match[1]) > 100):
        raise ValueError("expected a number of hosts such as 2, or a percentage from 1% to 100%")
    return value


def _countable(value: int) -> int:
    if not 0 <= value <= 1_000_000_000:
        raise ValueError("expected a whole number from 0 to 1,000,000,000")
    return value


# capabilities(7), without cap_.
_CAPABILITIES = frozenset({
    "audit_control", "audit_read", "audit_write", "block_suspend", "bpf", "checkpoint_restore", "chown",
    "dac_override", "dac_read_search", "fowner", "fsetid", "ipc_lock", "ipc_owner", "kill", "lease",
    "linux_immutable", "mac_admin", "mac_override", "mknod", "net_admin", "net_bind_service", "net_broadcast",
    "net_raw", "perfmon", "setfcap", "setgid", "setpcap", "setuid", "sys_admin", "sys_boot", "sys_chroot",
    "sys_module", "sys_nice", "sys_pacct", "sys_ptrace", "sys_rawio", "sys_resource", "sys_time", "sys_tty_config",
    "syslog", "wake_alarm",
})  # fmt: skip


def _capability(value: str) -> str:
    if value.removeprefix("cap_") not in _CAPABILITIES or not value.startswith("cap_"):
        raise ValueError("expected the name of a capability, such as cap_net_bind_service; see capabilities(7)")
    return value


def _to_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Text = Annotated[str, AfterValidator(_nothing_invisible)]
Capability = Annotated[str, AfterValidator(_capability)]
# A century: neither infinity, nor so long that a clock or a shell cannot count it.
Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=3_155_760_000, allow_inf_nan=False)]
# Written with its sign, kept as a share: 1% is 0.01.
Percent = Annotated[float, BeforeValidator(parse_percent), Field(ge=0, allow_inf_nan=False)]
# What a shell, and systemd, can count with.
WholeNumber = Annotated[int, Field(ge=-(2**63), lt=2**63)]
# A validator and no limits: of two limits of a kind pydantic takes this one, and a setting's own (ge=1) was none.
Count = Annotated[int, AfterValidator(_countable)]
# systemd.unit(5): names are ASCII letters, digits and ":-_.\"; '@' makes a template. 255 bytes at the most.
UnitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9:_.-]+@?$", max_length=200)]
InstanceName = Annotated[str, BeforeValidator(_to_text), Field(pattern=r"^[A-Za-z0-9:_.-]+$", max_length=60)]
# A part of unit names and of the balancer's servers.
SlotName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$", max_length=20)]
AppName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=40)]
# useradd(8): the pattern Debian's own tools accept without force.
UnixName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$", max_length=32)]
AbsolutePath = Annotated[Text, AfterValidator(absolute_path)]
# A user of a host, by name or number.
ServedBy = Annotated[Text, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
HomePath = Annotated[AbsolutePath, AfterValidator(_plain_path)]
ReleasePath = Annotated[Text, AfterValidator(_relative)]
# systemd.unit(5): only *.conf counts. It becomes a file's name.
DropInName = Annotated[str, Field(pattern=r"^[A-Za-z0-9:_@%-][A-Za-z0-9:_.@%-]*\.conf$", max_length=200)]
Mode = Annotated[str, BeforeValidator(_to_text), Field(pattern=r"^0?[0-7]{3}$")]
Batch = Annotated[str, BeforeValidator(_to_text), AfterValidator(parse_batch)]
Port = Annotated[int, Field(ge=1, le=65535)]
DatabaseName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_$-]*$", max_length=63)]
Pattern = Annotated[Text, Field(min_length=1)]
