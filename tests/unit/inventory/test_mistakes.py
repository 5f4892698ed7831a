"""What a wrong or hostile inventory gets: a sentence with file, line and what was expected; never a crash or a hang."""

# ruff: noqa: E501  the tables read better in long lines

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from playbooks.core.errors import ConfigError, UsageError
from playbooks.inventory import limit, load_inventory, select

BILLION_LAUGHS = "x0: &a0 [1, 2]\n" + "".join(f"x{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
MERGE_LAUGHS = "x0: &m0 {a: 1, b: 2}\n" + "".join(
    f"x{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 10)}], k{i}: 1}}\n" for i in range(1, 12)
)

# file name, its text, words that the sentence must have
WRONG = {
    "tab": ("hosts.yml", "web:\n\thosts:", ["hosts.yml:2", "column 1", "tab"]),
    "unclosed quote": ("hosts.yml", 'web:\n  vars:\n    a: "b\n', ["hosts.yml:", "quoted scalar"]),
    "colon in value": ("hosts.yml", "web:\n  vars:\n    a: b: c\n", ["hosts.yml:3, column 9", "mapping values"]),
    "unquoted template": ("hosts.yml", "web:\n  vars:\n    a: {{ b }}\n", ["hosts.yml:3", "needs quotes"]),
    "unknown tag": ("hosts.yml", "web: {vars: {a: !secret x}}", ["hosts.yml:1", "!secret", "!vault"]),
    "python object": ("hosts.yml", "a: !!python/object/apply:os.system [id]", ["hosts.yml:1", "python/object"]),
    "undefined alias": ("hosts.yml", "web: *nope", ["hosts.yml:1", "nope"]),
    "two documents": ("hosts.yml", "a:\n---\nb:\n", ["hosts.yml:2", "single document"]),
    "impossible date": ("hosts.yml", "web: {vars: {d: 2024-13-45}}", ["hosts.yml", "month", "quotes"]),
    "endless number": ("hosts.yml", "web: {vars: {d: " + "9" * 5000 + "}}", ["hosts.yml", "quotes"]),
    "a list": ("hosts.yml", "- web\n- db\n", ["hosts.yml", "list", "expected groups"]),
    "hosts as list": ("hosts.yml", "web:\n  hosts:\n    - web1\n", ["hosts.yml:2", "hosts of group 'web' is a list", "'web1:'"]),
    "children as list": ("hosts.yml", "web: {children: [a]}", ["children of group 'web' is a list"]),
    "vars as list": ("hosts.yml", "web: {vars: [a]}", ["vars of group 'web' is a list"]),
    "host is a list": ("hosts.yml", "web: {hosts: {h: [1]}}", ["variables of host 'h' are a list"]),
    "host is a number": ("hosts.yml", "web: {hosts: {10.5: }}", ["10.5", "quotes"]),
    "group is a number": ("hosts.yml", "1: {hosts: {a: }}", ["1 cannot be the name of a group", "quotes"]),
    "child is a value": ("hosts.yml", "web: {children: {sub: 5}}", ["'sub' is the value 5"]),
    "priority": ("hosts.yml", "web: {vars: {ansible_group_priority: high}}", ["ansible_group_priority", "'high'", "number"]),
    "loop": ("hosts.yml", "a: {children: {b: {children: {c: {children: {a: }}}}}}", ["a → b → c → a"]),
    "itself": ("hosts.yml", "a: {children: {a: }}", ["a → a"]),
    "all as child": ("hosts.yml", "a: {children: {all: }}", ["'all'", "child"]),
    "ungrouped as child": ("hosts.yml", "a: {children: {ungrouped: }}", ["'ungrouped'", "child"]),
    "range without end": ("hosts.yml", "w: {hosts: {'w[1:]': }}", ["'w[1:]'", "no end"]),
    "range of one": ("hosts.yml", "w: {hosts: {'w[1]': }}", ["[1] is no range"]),
    "range of words": ("hosts.yml", "w: {hosts: {'w[one:two]': }}", ["no range"]),
    "range unclosed": ("hosts.yml", "w: {hosts: {'w[1:2': }}", ["no closing ]"]),
    "range widths": ("hosts.yml", "w: {hosts: {'w[01:100]': }}", ["same length"]),
    "range step 0": ("hosts.yml", "w: {hosts: {'w[1:9:0]': }}", ["step"]),
    "huge range": ("hosts.yml", "w: {hosts: {'w[0:99999999999]': }}", ["20,000 hosts"]),
    "huge product": ("hosts.yml", "w: {hosts: {'w[0:999][0:999][0:999]': }}", ["20,000 hosts"]),
    "too many hosts": (
        "hosts.yml",
        "w: {hosts: {'a[0:19999]': , 'b[0:19999]': , 'c[0:19999]': }}",
        ["50,000 hosts"],
    ),
    "laughs": ("hosts.yml", BILLION_LAUGHS, ["aliases stand for more"]),
    "laughs by merging": ("hosts.yml", MERGE_LAUGHS, ["aliases stand for more"]),
    "alias in itself": ("hosts.yml", "a: &a {vars: {b: *a}}", ["holds itself"]),
    "deep brackets": ("hosts.yml", "a: " + "[" * 200_000, ["deeper than 100"]),
    "deep braces": ("hosts.yml", "{a: " * 200_000, ["deeper than 100"]),
    "deep dashes": ("hosts.yml", "- " * 200_000, ["deeper than 100"]),
    "deep indentation": ("hosts.yml", "\n".join(" " * i + "a:" for i in range(2_000)), ["deeper than 100"]),
    "deep json": ("hosts.json", '{"a": ' + "[" * 200_000, ["deeper than 100"]),
    "half a character": ("hosts.json", '{"web": {"vars": {"a": "\\ud800"}}}', ["half a character"]),
    "broken json": ("hosts.json", '{"web": {"hosts": }', ["hosts.json:1"]),
    "ini": ("hosts", "[web]\nweb1 ansible_host=10.0.0.1\n[web:vars]\na=b\n", ["INI", "ansible-inventory -i", "--list --yaml --export"]),
    "ini of one host": ("hosts", "web1\n", ["INI", "ansible-inventory -i"]),
    "ini called yaml": ("hosts.yml", "[web]\nweb1\n", ["INI", "ansible-inventory -i"]),
    "ini file": ("hosts.ini", "[web]\nweb1\n", ["INI", "ansible-inventory -i"]),
    "toml": ("hosts.toml", "[web.hosts]\nweb1 = {}\n", ["TOML", "ansible-inventory -i"]),
    "plugin": ("aws_ec2.yml", "plugin: amazon.aws.aws_ec2\nregions: [eu-1]\n", ["aws_ec2.yml:1", "plugin", "ansible-inventory -i"]),
    "plugin that needs the others": ("z_constructed.yml", "plugin: constructed\ngroups: {a: true}\n", ["inventory --list --yaml --export > ", "z_constructed-converted.yml", "move it away"]),
    "broken, of any name": ("frontend", "web:\n\thosts:\n", ["frontend:2", "tab"]),
    "broken hosts": ("hosts", "web:\n\thosts:\n", ["hosts:2", "tab"]),
    "vars file as list": ("group_vars/all.yml", "- a: 1\n", ["all.yml", "expected variables"]),
    "vars file as text": ("group_vars/web/x.yml", "hello\n", ["x.yml", "expected variables"]),
    "vars file broken": ("host_vars/h1.yml", "a: [1\n", ["h1.yml:"]),
    "vars folder is a file": ("group_vars", "a: 1", ["group_vars", "expected a folder"]),
    "encrypted, no password": ("vault.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n", ["vault.yml", "ANSIBLE_VAULT_PASSWORD_FILE"]),
}  # fmt: skip


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    source = folder / "inventory"
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return source


def problems(source: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_inventory(str(source), source.parent, environ={})
    assert caught.value.exit_status == 2
    return caught.value.problems


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_one_sentence(mistake: str, tmp_path: Path) -> None:
    """Fails if a mistake is not refused, is not told in one sentence with its file, or takes long to refuse."""
    name, text, words = WRONG[mistake]
    source = write(tmp_path, {"00-good.yml": "web: {hosts: {h1: }}", name: text})
    began = time.process_time()  # not the clock: machines that run tests do other things as well
    told = problems(source)
    assert time.process_time() - began < 5
    assert len(told) == 1, told
    assert len(told[0]) < 500  # pytest's folders have long names, which a command repeats
    assert "\n" not in told[0]
    for word in words:
        assert word in told[0], told[0]


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """Fails if a user has to run once for each mistake."""
    source = write(
        tmp_path,
        {
            "a.yml": "web: {hosts: [x], vars: 3, children: {'': }}\ndb: {hosts: {1: , 'x[1]': }}",
            "b.yml": "a: [",
            "group_vars/web.yml": "- 1",
            "host_vars/h.yml": "{",
            "c.yml": "ok: {hosts: {h: }}",
        },
    )
    told = problems(source)
    assert [sentence.split(":")[0].rpartition("/")[2].partition(" ")[0] for sentence in told] == [
        "a.yml", "a.yml", "a.yml", "a.yml", "a.yml", "b.yml", "web.yml", "h.yml",
    ]  # fmt: skip


def test_bad_utf8_says_where(tmp_path: Path) -> None:
    """Fails if a file in another encoding gives a traceback or no line."""
    told = problems(write(tmp_path, {"hosts.yml": b"web:\n  vars: {a: gr\xfc\xdfe}\n"}))
    assert "hosts.yml:2" in told[0]
    assert "0xfc" in told[0]
    assert "UTF-8" in told[0]


def test_symlink_loops_and_odd_files(tmp_path: Path) -> None:
    """Fails if a folder that holds itself, a broken link or a socket-like file hangs or crashes the load."""
    source = write(tmp_path, {"hosts.yml": "web: {hosts: {h1: }}", "group_vars/web/a.yml": "a: 1"})
    (source / "group_vars/web/again").symlink_to(source / "group_vars/web")
    assert "folders deep" in problems(source)[0]
    (source / "group_vars/web/again").unlink()
    (source / "sub").symlink_to(source)
    with pytest.raises(ConfigError, match="folders deep"):
        load_inventory(str(source), tmp_path)
    (source / "sub").unlink()
    (source / "gone.yml").symlink_to(source / "nowhere")
    assert "broken symlink" in problems(source)[0]
    (source / "gone.yml").unlink()
    os.mkfifo(source / "pipe.yml")
    assert "pipe.yml is no plain file" in problems(source)[0]


def test_scripts_are_not_run(tmp_path: Path) -> None:
    """Fails if an executable inventory is run, or is not named with the way to convert it."""
    source = write(tmp_path, {"hosts.sh": f"#!/bin/sh\ntouch {tmp_path}/ran\n"})
    (source / "hosts.sh").chmod(0o755)
    assert "hosts.sh is a script" in problems(source)[0]
    assert not (tmp_path / "ran").exists()


BESIDE: dict[str, str | bytes] = {
    "LICENSE": "MIT License\n\nPermission: granted.\n",
    "Makefile": "NAME=1\nall:\n\tmake it\n",
    "README": "* @team\n",
    "VERSION": "1.4.0\n",
    "site.yml": "- hosts: web\n  tasks: []\n",
    "hosts.ini.sample": "[web]\nexample1 ansible_host=10.0.0.1\n",
    "ports.csv": "web1,80\nweb2,80\n",
    "logo": b"\x89PNG\xff\xfe",
    "keys.p12": b"\x30\x82\xff",
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_an_inventory_is_left_out(name: str, tmp_path: Path) -> None:
    """Fails if an environment cannot be used for a file that is no inventory, or nobody is told of it."""
    inventory = load_inventory(
        str(write(tmp_path, {"hosts.yml": "web: {hosts: {h1: }}", name: BESIDE[name]})), tmp_path
    )
    assert list(inventory.hosts) == ["h1"]
    (warning,) = inventory.warnings
    assert f"/{name} " in warning
    assert "is left out; move it away" in warning


def test_templates_are_no_inventories(tmp_path: Path) -> None:
    """Fails if a unit's template in the documented folder stops every task, or is warned of by each of them."""
    source = write(
        tmp_path,
        {
            "hosts.yml": "web: {hosts: {h1: }}",
            "templates/shop.service": "[Service]\nExecStart=/bin/true\n",
            "templates/app/site.conf": "listen 80;\n",
            "templates/app.yml": "a: [\n",
        },
    )
    inventory = load_inventory(str(source), tmp_path)
    assert (list(inventory.hosts), list(inventory.warnings)) == (["h1"], [])


@pytest.mark.parametrize("name", ["hosts.sample", "hosts.yaml2", "hosts.txt"])
def test_a_named_file_that_is_not_read_is_told_by_its_name(name: str, tmp_path: Path) -> None:
    """Fails if a file that --env names is passed over for its ending, and said to name no host."""
    source = write(tmp_path, {name: "web: {hosts: {h1: }}"})
    (told,) = problems(source / name)
    assert f"its name ends in {Path(name).suffix}" in told
    assert "call it hosts.yml" in told


def test_converting_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if the command that converts a file empties one that is there, or asks a plugin without the other files."""
    monkeypatch.chdir(tmp_path)
    source = write(
        tmp_path, {"hosts.ini": "[web]\nw1\n", "hosts.yml": "web: {hosts: {h1: }}", "sub/a.yml": "plugin: b\n"}
    )
    ini, plugin = problems(source)
    assert ini.endswith(
        "ansible-inventory -i inventory/hosts.ini --list --yaml --export > inventory/hosts-converted.yml"
    )
    assert plugin.endswith("ansible-inventory -i inventory --list --yaml --export > inventory/sub/a-converted.yml")


def test_names_too_long_or_odd_for_files(tmp_path: Path) -> None:
    """Fails if a host's name that cannot be a file's name breaks the search for its variables."""
    names = ["web." + "x" * 5000, "../../etc/passwd", "/etc", "a\0b", ".", "web.\0"]
    source = write(
        tmp_path, {"hosts.json": json.dumps({"web": {"hosts": dict.fromkeys(names)}}), "host_vars/web.yml": "a: 1"}
    )
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd.yml").write_text("stolen: true")
    inventory = load_inventory(str(source), tmp_path)
    assert all(inventory.vars_for(name) == {} for name in names)


def test_warnings(tmp_path: Path) -> None:
    """Fails if what Ansible only warns of is refused, or is passed over in silence."""
    source = write(
        tmp_path,
        {
            "hosts.yml": "web:\n  host: {h1: }\n  hosts: {h2: {a: 1, a: 2}, 'e[5:1]': }\nnote: hello\nweb2: {hosts: {web: }}\n",
            "values.tf": 'resource "x" {\n}\n',
        },
    )
    inventory = load_inventory(str(source), tmp_path)
    assert inventory.vars_for("h2") == {"a": 2}
    for words in (
        "did you mean hosts",
        "'a' is there twice",
        "holds no host",
        "'note' is no group",
        "values.tf has a name that ends in .tf, so no inventory",
        "both a group and a host",
    ):
        assert any(words in warning for warning in inventory.warnings), (words, inventory.warnings)


def test_environments(tmp_path: Path) -> None:
    """Fails if an unknown environment is not told with those that exist, or a name or path does not find its inventory."""
    for name in ("staging", "production"):
        write(tmp_path / "inventory" / name, {})
        (tmp_path / "inventory" / name).mkdir(parents=True)
        (tmp_path / "inventory" / name / "hosts.yml").write_text(f"{name}: {{hosts: {{h-{name}: }}}}")
    (tmp_path / "inventory" / "single.yml").write_text("x: {hosts: {alone: }}")
    assert list(load_inventory("staging", tmp_path).hosts) == ["h-staging"]
    assert list(load_inventory("single", tmp_path).hosts) == ["alone"]
    assert list(load_inventory(str(tmp_path / "inventory/production"), Path("/")).hosts) == ["h-production"]
    assert list(load_inventory(str(tmp_path / "inventory/production/hosts.yml"), Path("/")).hosts) == ["h-production"]
    for wrong in ("stagin", "", "../x", "no/such/path", "a\0b", "x" * 5000, "lab"):
        with pytest.raises(UsageError) as caught:
            load_inventory(wrong, tmp_path)
        assert "production, single, staging" in str(caught.value)
        assert caught.value.exit_status == 2
    with pytest.raises(UsageError, match="Did you mean 'staging'"):
        load_inventory("stagin", tmp_path)


PATTERNS = {
    "wbe": "Did you mean 'web'",
    "web:wrong": "'wrong' matches no group and no host",
    "web:!wrong": "'wrong' matches no group and no host",
    "web:&wrong": "'wrong' matches no group and no host",
    "web:&db": "matches no host",
    "web[7]": "has 3 hosts, counted from 0",
    "web[-4]": "has 3 hosts, counted from 0",
    "web[5:9]": "matches no host",
    "~(": "no valid expression",
    "~[[a]": "unclear: possible nested set at position 1",
    "~[a--b]": "unclear: possible set difference at position 2",
    "~": "nothing behind it",
    "~[": "nothing behind it",
    "web:&db,db1": "use commas or colons",
    "": "is empty",
    " , ": "is empty",
    "!": "nothing behind it",
    "@/no/such/file": "cannot be read",
    "@/": "cannot be read",
    "localhost": "matches no group and no host",
    "empty": "matches no host",
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_that_match_nothing(pattern: str, tmp_path: Path) -> None:
    """Fails if a mistyped pattern is passed over, as Ansible does: a deploy would touch hosts that were to be left out."""
    source = write(tmp_path, {"hosts.yml": "web: {hosts: {'web[1:3]': }}\ndb: {hosts: {db1: }}\nempty:\n"})
    with pytest.raises(UsageError) as caught:
        select(load_inventory(str(source), tmp_path), pattern, files=True)
    assert PATTERNS[pattern] in str(caught.value)
    if "cannot be read" not in PATTERNS[pattern] and "valid" not in PATTERNS[pattern]:
        assert len(str(caught.value)) < 400


def test_a_glob_may_leave_out_nothing(tmp_path: Path) -> None:
    """Fails if `all:!*canary*` stops working once the canary is gone."""
    source = write(tmp_path, {"hosts.yml": "web: {hosts: {'web[1:2]': }}"})
    assert select(load_inventory(str(source), tmp_path), "all:!*canary*") == ["web1", "web2"]


def test_retry_files(tmp_path: Path) -> None:
    """Fails if --limit=@file does not take the hosts of the file."""
    source = write(tmp_path, {"hosts.yml": "web: {hosts: {'web[1:4]': }}"})
    (tmp_path / "site.retry").write_text("web3\n\nweb1\n")
    inventory = load_inventory(str(source), tmp_path)
    assert select(inventory, f"@{tmp_path}/site.retry", files=True) == ["web3", "web1"]
    assert select(inventory, f"@{tmp_path}/site.retry,web4", files=True) == ["web3", "web1", "web4"]
    assert limit(inventory, f"@{tmp_path}/site.retry") == ["web1", "web3"]


@pytest.mark.parametrize("place", ["hosts.yml", "group_vars/all.yml", "host_vars/web1"])
def test_a_fifo_is_not_waited_for(place: str, tmp_path: Path) -> None:
    """Fails if a task hangs for good on a file that nobody writes into."""
    source = write(tmp_path, {"hosts.yml": "web: {hosts: {web1: }}\n"})
    fifo = source / place
    fifo.unlink(missing_ok=True)
    fifo.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(fifo)
    signal.alarm(10)  # ends a wait with the whole test run
    try:
        with pytest.raises(ConfigError, match="no plain file"):
            load_inventory(str(source), tmp_path)
    finally:
        signal.alarm(0)
