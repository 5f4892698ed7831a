"""When a database may be migrated: a window that is open at the wrong hour is worse than none."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from playbooks.migrations.window import DAYS, Window, is_open, next_opening
from playbooks.settings.migrations import WindowSettings

NIGHT = Window(("fri",), time(23, 0), time(2, 0), "Europe/Berlin")


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-12-04T21:59", False),  # Friday 22:59 in Berlin
        ("2026-12-04T22:00", True),
        ("2026-12-05T00:59", True),  # Saturday 01:59: the night of Friday
        ("2026-12-05T01:00", False),
        ("2026-12-05T22:30", False),  # Saturday 23:30
        ("2026-07-03T21:00", True),  # in summer an hour earlier
    ],
)
def test_a_window_is_of_its_zone_and_may_last_over_midnight(at: str, expected: bool) -> None:
    """An hour off is the hour of most users."""
    assert is_open(NIGHT, datetime.fromisoformat(at).replace(tzinfo=UTC)) is expected


def test_it_says_when_it_opens() -> None:
    """A refusal without it is tried again every quarter of an hour."""
    opens = next_opening(NIGHT, datetime(2026, 12, 5, 12, 0, tzinfo=UTC))
    assert f"{opens:%a %H:%M %F}" == "Fri 23:00 2026-12-11"
    assert NIGHT.text == "fri 23:00 to 02:00 Europe/Berlin"


@given(
    st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
    st.times(),
    st.times(),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
)
def test_it_opens_within_eight_days_and_is_open_then(
    days: list[str], opens: time, closes: time, zone: str, at: datetime
) -> None:
    """A window that never opens keeps every release out; so does an error in the night of the clock's change."""
    window = Window(days, opens.replace(microsecond=0), closes.replace(microsecond=0), zone)
    here = at.replace(tzinfo=UTC)
    found = next_opening(window, here)
    assert here < found <= here + timedelta(days=8)
    is_open(window, here)


@pytest.mark.parametrize(
    "wrong", [{"opens": "25:00"}, {"closes": "x"}, {"zone": "Mars/Base"}, {"days": []}, {"days": ["friday"]}]
)
def test_a_wrong_window_is_refused_when_the_settings_are_read(wrong: dict[str, object]) -> None:
    """It would be found out at night."""
    right = {"opens": "02:30", "closes": "05:00"}
    assert WindowSettings.model_validate(right).opens == time(2, 30)
    assert WindowSettings.model_validate({**right, "opens": 150}).opens == time(2, 30), "YAML reads 2:30 so"
    with pytest.raises(ValidationError):
        WindowSettings.model_validate({**right, **wrong})
