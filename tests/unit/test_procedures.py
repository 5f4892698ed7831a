"""playbooks/*.py is exactly what a person can ask for: whoever looks for a task finds its file by its name."""

from __future__ import annotations

from pathlib import Path

import tasks

FOLDER = Path(tasks.__file__).parent / "playbooks"
# Two tasks in one file, or a name that a folder has already.
ELSEWHERE = {
    "backups": "backup",
    "error-rate": "measure",
    "latency": "measure",
    "unschedule": "schedule",
    "inventory": "show_inventory",
    "traffic": "show_traffic",
    "migrations": "show_migrations",
}
# What a flag makes of a task, where the flag's name is not the file's first word.
BY_A_FLAG = {"show_variables": ("inventory", "vars"), "check_untrusted": ("deploy", "untrusted-inventory")}


def test_each_task_has_its_file_and_each_file_its_task() -> None:
    """A helper that lies among the procedures is looked for in a folder, and a task's file is guessed wrong."""
    flags = {
        name: {flag.removeprefix("--") for one in task.get_arguments() for flag in _flags(one)}
        for name, task in tasks.namespace.tasks.items()
    }
    files = {file.stem for file in FOLDER.glob("*.py")} - {"__init__"}
    found = {ELSEWHERE.get(name, name.replace("-", "_")) for name in flags}
    assert found <= files
    odd = []
    for file in files - found:
        flag, _, task = file.partition("_")
        task, flag = BY_A_FLAG.get(file, (task.replace("_", "-"), flag))
        if flag not in flags.get(task, set()):
            odd.append(file)
    assert odd == []


def _flags(argument: object) -> list[str]:
    return [name.replace("_", "-") for name in argument.names]  # type: ignore[attr-defined]
