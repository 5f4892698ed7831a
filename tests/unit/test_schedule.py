"""The schedule of verify-backups: what cron and systemd are given, and that exactly that is taken away again (G9)."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from playbooks.adapters import timers
from playbooks.adapters.timers import Places
from playbooks.core.errors import SlipwayError, UsageError
from playbooks.environments.environment import Environment
from playbooks.environments.load import load_environment
from playbooks.fleet.progress import Silent
from playbooks.schedule import calendar, cron_fields, render_timer, schedule, unschedule

TEMPLATES = Path(__file__).resolve().parent.parent.parent / "templates"


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    """An environment in a project whose path has everything that a careless quoting trips over."""
    project = tmp_path / 'pro%ject $HOME\'s "own"'
    inventory = project / "inventory" / "sta%ging"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("all:\n  hosts:\n    web1:\n")
    (inventory / "group_vars" / "all.yml").write_text("slipway_app: shop\n")
    (project / "templates").symlink_to(TEMPLATES)
    program = project / ".venv" / "bin" / "invoke"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$@"\nexit ${STATUS:-0}\n')
    program.chmod(0o755)
    return load_environment("sta%ging", project)


@pytest.fixture
def where(tmp_path: Path) -> Places:
    return Places(tmp_path / "cron.d", tmp_path / "units", tmp_path / "state", ("false",))


def as_cron_would(entry: str) -> list[str]:
    """The command of an entry as cron(8) hands it to the shell: after five fields and a user, \\% read as %."""
    line = entry.splitlines()[-1]
    command = line.split(" ", 6)[6]
    assert "%" not in command.replace("\\%", ""), "cron would cut the command off at a bare %"
    return ["/bin/sh", "-c", command.replace("\\%", "%")]


def test_the_entry_runs_this_project_for_this_environment(env: Environment, where: Places) -> None:
    """A path with blanks, quotes, dollars or per cents must neither be split, expanded nor cut off."""
    done = schedule(env, Silent(), at="03:17", timer=False, where=where)
    entry = Path(done.place)
    assert entry.stat().st_mode & 0o777 == 0o644
    assert "." not in entry.name, "cron reads no file with a dot in its name"
    assert entry.read_text().splitlines()[-1].startswith("17 3 * * * root cd ")
    ran = subprocess.run(as_cron_would(entry.read_text()), capture_output=True, text=True, check=True, env={})
    assert ran.stdout == "", "cron mails what is said: nothing, when all is well"
    assert Path(done.log).read_text().splitlines() == [str(env.project), "verify-backups", "--env=sta%ging"]


def test_a_run_has_what_this_shell_says_of_the_inventory(
    env: Environment, where: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cron's environment is empty, and it starts elsewhere: the inventory would mean something else there."""
    program = env.project / ".venv/bin/invoke"
    program.write_text("#!/bin/sh\nenv\n")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here/ansible.cfg").write_text("[defaults]\nhash_behaviour = merge\n")
    monkeypatch.setenv("ANSIBLE_VAULT_IDENTITY_LIST", "dev@pass word, prod@/etc/p")
    monkeypatch.delenv("ANSIBLE_HASH_BEHAVIOUR", raising=False)
    env = load_environment("sta%ging", env.project)
    done = schedule(env, Silent(), at="03:17", timer=False, where=where)
    assert set(done.variables) == {"ANSIBLE_HASH_BEHAVIOUR", "ANSIBLE_VAULT_IDENTITY_LIST"}
    subprocess.run(as_cron_would(Path(done.place).read_text()), check=True, env={})
    had = Path(done.log).read_text().splitlines()
    assert "ANSIBLE_HASH_BEHAVIOUR=merge" in had
    assert f"ANSIBLE_VAULT_IDENTITY_LIST=dev@{tmp_path}/here/pass word,prod@/etc/p" in had


def test_what_will_not_run_is_no_success(env: Environment, where: Places) -> None:
    """A script that believes the status would wait for drills that nobody holds."""
    assert "no cron is installed" in timers.why_no_cron(("no-such-cron",))
    assert "cron does not run" in timers.why_no_cron(("usermod",)), "a program that is here, and does not run"
    assert timers.why_no_cron(("python3", Path("/proc/self/comm").read_text().strip())) == ""
    done = schedule(env, Silent(), at="03:17", timer=False, where=where)
    assert done.problem == timers.why_no_cron()
    assert done.exit_status == (3 if done.problem else 0)
    assert unschedule(env, Silent(), where=where).exit_status == 0


def test_a_failed_or_overlapping_run_is_told(env: Environment, where: Places) -> None:
    """cron's mail is how a person hears of a failed drill; and a second run must not start beside the first."""
    done = schedule(env, Silent(), at="*/5 2-4 * * mon", timer=False, where=where)
    command = as_cron_would(Path(done.place).read_text())
    failed = subprocess.run(command, capture_output=True, text=True, check=True, env={"STATUS": "1"})
    assert "did not pass" in failed.stdout
    assert done.log in failed.stdout
    Path(done.log).unlink()
    lock = str(Path(done.log).with_suffix(".lock"))
    held = subprocess.run(["flock", lock, *command], capture_output=True, text=True, check=True)
    assert "still runs" in held.stdout
    assert Path(done.log).read_text() == "", "the second one ran"


def test_scheduling_twice_leaves_one_entry_and_unscheduling_none(env: Environment, where: Places) -> None:
    """Twice the entry would be twice the drill; unschedule must not touch what somebody else put there."""
    assert where.cron is not None
    where.cron.mkdir()
    (where.cron / "slipway-verify-other-12345678").write_text("# another project's\n")
    schedule(env, Silent(), at="03:17", timer=False, where=where)
    done = schedule(env, Silent(), at="04:18", timer=False, where=where)
    assert len(list(where.cron.iterdir())) == 2
    assert "18 4 * * *" in Path(done.place).read_text()
    assert unschedule(env, Silent(), where=where).removed == (done.place,)
    assert [path.name for path in where.cron.iterdir()] == ["slipway-verify-other-12345678"]
    assert unschedule(env, Silent(), where=where).removed == ()


def test_a_users_own_crontab_keeps_its_other_lines(
    env: Environment, where: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without root there is no cron.d: a crontab somebody wrote by hand must come out as it went in."""
    programs = tmp_path / "bin"
    programs.mkdir()
    table = tmp_path / "crontab"
    # crontab(1) keeps the table where only it can write; this one keeps it here.
    (programs / "crontab").write_text(
        f"#!/bin/sh\ncase $1 in -l) cat {table} 2>/dev/null || {{ echo no crontab for you >&2; exit 1; }} ;;\n"
        f"-) cat >{table} ;; -r) rm {table} ;; esac\n"
    )
    (programs / "crontab").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    mine = Places(None, where.units, where.state, where.systemctl)
    schedule(env, Silent(), at="03:17", timer=False, where=mine)
    assert table.read_text().splitlines()[2].startswith("17 3 * * * cd "), "a user's own crontab names no user"
    unschedule(env, Silent(), where=mine)
    assert not table.exists()
    by_hand = "MAILTO=me\n5 4 * * * echo 100\\% # no newline at the end of this"
    table.write_text(by_hand + "\n")
    schedule(env, Silent(), at="03:17", timer=False, where=mine)
    schedule(env, Silent(), at="03:18", timer=False, where=mine)
    assert table.read_text().count("verify-backups --env") + table.read_text().count("verify-backups '--env") == 1
    unschedule(env, Silent(), where=mine)
    assert table.read_text() == by_hand + "\n"


def test_a_home_that_cannot_be_made_is_told(env: Environment, where: Places, tmp_path: Path) -> None:
    """Users of containers often have one that is not there."""
    (tmp_path / "state").write_text("")
    with pytest.raises(UsageError, match=r"cannot make .*: File exists; nothing was touched"):
        schedule(env, Silent(), at="03:17", timer=False, where=where)
    assert not (tmp_path / "cron.d").exists()


def test_the_timer_is_what_systemd_accepts(env: Environment, where: Places, tmp_path: Path) -> None:
    """A per cent is a specifier and a dollar a variable in a unit: both must reach the command as they are."""
    service, timer = render_timer(
        env, calendar("03:17"), where.state / "log", {"ANSIBLE_VAULT_PASSWORD_FILE": '/a $b "c" %d'}
    )
    for name, text in (("v.service", service), ("v.timer", timer)):
        (tmp_path / name).write_text(text)
        subprocess.run(["systemd-analyze", "verify", "--man=no", str(tmp_path / name)], check=True, capture_output=True)
    (line,) = [line for line in service.splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(line.removeprefix("ExecStart=").replace("$$", "$").replace("%%", "%"))
    assert words[3:] == [str(env.project / ".venv/bin/invoke"), "verify-backups", "--env=sta%ging"]
    assert 'Environment="ANSIBLE_VAULT_PASSWORD_FILE=/a $b \\"c\\" %%d"' in service
    assert f"WorkingDirectory={env.project}".replace("%", "%%") in service
    assert "OnCalendar=*-*-* 03:17:00" in timer


def test_a_timer_without_systemd_leaves_the_cron_entry(env: Environment, where: Places) -> None:
    """Switching to a timer that cannot be had must not end with no schedule at all."""
    done = schedule(env, Silent(), at="03:17", timer=False, where=where)
    with pytest.raises(SlipwayError, match="failed"):
        schedule(env, Silent(), at="03:17", timer=True, where=where)
    assert Path(done.place).exists()


@pytest.mark.parametrize(
    "at", ["3", "25:00", "03:60", "61 * * * *", "* * * *", "* * 0 * *", "1; rm -rf /", "a b c d e"]
)
def test_a_time_that_cron_would_refuse_is_refused_here(at: str) -> None:
    """cron drops a bad line silently: nobody would notice until the restore that fails."""
    with pytest.raises(UsageError, match="--at"):
        cron_fields(at)


@pytest.mark.parametrize(
    ("at", "fields"),
    [
        ("03:17", "17 3 * * *"),
        ("3:07", "7 3 * * *"),
        ("*/15 0,12 1-5 JAN-mar sun", "*/15 0,12 1-5 JAN-mar sun"),
        ("@daily",) * 2,
    ],
)
def test_times_that_cron_knows(at: str, fields: str) -> None:
    """What cron(5) allows must not be refused."""
    assert cron_fields(at) == fields


@pytest.mark.parametrize("at", ["03:17\nExecStart=/bin/evil", "$(x)", "a b c d e"])
def test_a_calendar_that_would_change_the_unit_is_refused(at: str) -> None:
    """A line break in OnCalendar= would begin another directive."""
    with pytest.raises(UsageError, match="--timer"):
        calendar(at)
