"""Where values come from, secrets, and what happens when a value cannot be resolved."""

# ruff: noqa: E501  the tables read better in long lines

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from playbooks.core.errors import ConfigError, UsageError
from playbooks.inventory import NOT_READ, Inventory, VaultValue, fence_around, load_inventory
from tests.unit.inventory.conftest import CASES, source_of, vault_environ


def make(folder: Path, **files: str) -> Inventory:
    source = folder / "inventory"
    for name, text in files.items():
        path = source / (name.replace("__", "/") + ".yml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return load_inventory(str(source), folder, environ={})


def reason(inventory: Inventory, key: str, host: str = "h1") -> str:
    with pytest.raises(ConfigError) as caught:
        inventory.resolved_vars(host)[key]
    (told,) = caught.value.problems
    return told


def test_origin_names_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a settings mistake cannot be told with the file and line of what covers the others."""
    monkeypatch.chdir(tmp_path)
    inventory = make(
        tmp_path,
        hosts="web:\n  hosts:\n    h1:\n      a: 1\n    h2:2222:\n  vars:\n    a: 0\n    b: 0\n",
        group_vars__all="c: 1\n\napp:\n  name: shop\n  services:\n    - name: web\n      port: 1\n    - name: api\n      port: x\n",
        group_vars__web__main="b: 2\n",
    )
    assert inventory.origin("h1", "a") == "inventory/hosts.yml:4"
    assert inventory.origin("h2", "a") == "inventory/hosts.yml:7"
    assert inventory.origin("h2", "ansible_port") == "inventory/hosts.yml:5"
    assert inventory.origin("h1", "b") == "inventory/group_vars/web/main.yml:1"
    assert inventory.origin("h1", "app") == "inventory/group_vars/all.yml:3"
    assert inventory.origin("h1", "app", "services", 1, "port") == "inventory/group_vars/all.yml:9"
    assert inventory.origin("h1", "app", "services", 1, "missing", "deeper") == "inventory/group_vars/all.yml:8"
    assert inventory.origin("h1", "nothing") == ""


def test_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if an unresolvable value is not told with host, variable, file and line, and why."""
    monkeypatch.chdir(tmp_path)
    inventory = make(
        tmp_path,
        hosts="web: {hosts: {h1: }}",
        group_vars__all="""\
undefined: "{{ nope }}"
indirect: "{{ undefined }}"
inside: {a: ["{{ indirect }}"]}
fact: "{{ ansible_default_ipv4.address }}"
loop_a: "{{ loop_b }}"
loop_b: "{{ loop_a }}"
loop_in: {x: "{{ loop_in.y }}", y: "{{ loop_in.x }}"}
syntax: "{{ 1 + }}"
pipe: "{{ lookup('pipe', 'id') }}"
ipaddr: "{{ '10.0.0.1' | ansible.utils.ipaddr }}"
kind: "{{ 1 + 'a' }}"
private: "{{ ''.__class__.__mro__ }}"
bomb: "{{ 'a' * 10 ** 9 }}"
power: "{{ 9 ** 999999999 }}"
long: "{{ range(10 ** 9) | list }}"
include: "{% include '/etc/passwd' %}"
required: "{{ nope | mandatory('set nope in group_vars/all.yml') }}"
fine: 1
""",
    )
    expected = {
        "undefined": "all.yml:1: undefined of host h1 cannot be resolved: 'nope' is undefined",
        "indirect": "all.yml:2: indirect of host h1 cannot be resolved: 'nope' is undefined (needed by undefined, inventory/group_vars/all.yml:1)",
        "inside": "all.yml:3: inside of host h1",
        "fact": "'ansible_default_ipv4' is undefined; Slipway gathers no facts",
        "loop_a": "it needs itself: loop_a → loop_b → loop_a",
        "loop_in": "it needs itself",
        "syntax": "all.yml:8: syntax of host h1 cannot be resolved: its template is not valid",
        "pipe": "'pipe' runs a program on this machine, and no inventory may",
        "ipaddr": "ansible.utils.ipaddr",
        "kind": "unsupported operand",
        "private": "unsafe",
        "bomb": "refused",
        "power": "refused",
        "long": "Range too big",
        "include": "include",
        "required": "set nope in group_vars/all.yml",
    }  # fmt: skip
    for key, words in expected.items():
        told = reason(inventory, key)
        assert words in told, told
        assert told.startswith("inventory/group_vars/all.yml:")
        assert len(told) < 300
    variables = inventory.resolved_vars("h1")
    assert variables["fine"] == 1  # what nobody asks for stops nobody
    with pytest.raises(KeyError):
        variables["not there"]
    with pytest.raises(ConfigError) as caught:
        variables.starting_with("loop_")
    assert len(caught.value.problems) == 3
    with pytest.raises(UsageError, match="no host 'h9'"):
        inventory.resolved_vars("h9")


def test_a_long_chain_of_variables_ends_in_a_sentence(tmp_path: Path) -> None:
    """Fails if a thousand variables that need each other end the process."""
    chain = "".join(f'v{i}: "{{{{ v{i + 1} }}}}"\n' for i in range(1000)) + "v1000: 1\n"
    inventory = make(tmp_path, hosts="web: {hosts: {h1: }}", group_vars__all=chain)
    assert "too deeply" in reason(inventory, "v0")
    assert inventory.resolved_vars("h1")["v990"] == 1


def test_a_password_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """Fails if reading an inventory writes a file, as Ansible's lookup does, or gives another password each time."""
    inventory = make(tmp_path, hosts="web: {hosts: {h1: {p: \"{{ lookup('password', 'secrets/p') }}\"}}}")
    assert "Slipway writes nothing" in reason(inventory, "p")
    assert not (tmp_path / "secrets").exists()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/p").write_text("kept\n")
    again = load_inventory(str(tmp_path / "inventory"), tmp_path, environ={}).resolved_vars("h1")
    assert again["p"] == "kept"
    assert again.is_secret("p")
    other = make(tmp_path, hosts="web: {hosts: {h1: {t: \"{{ lookup('template', 'secrets/p') }}\"}}}")
    assert other.resolved_vars("h1")["t"] == "kept\n"
    assert other.resolved_vars("h1").is_secret("t")  # any file can be named as a template


def test_password_hashes(tmp_path: Path) -> None:
    """Fails if a host's /etc/shadow would not take the password. The values are those of glibc's crypt(3)."""
    inventory = make(
        tmp_path,
        hosts="web: {hosts: {h1: }}",
        group_vars__all="""\
long: "{{ 'Hello world!' | password_hash('sha512', 'saltstring', rounds=5000) }}"
short: "{{ 'Hello world!' | password_hash('sha256_crypt', 'saltstring', rounds=1000) }}"
stock: "{{ 'x' | password_hash('sha512', 'saltstring') }}"
other: "{{ 'x' | password_hash('md5', 'salt') }}"
endless: "{{ 'x' | password_hash('sha512', 'salt', rounds=10 ** 9) }}"
""",
    )
    variables = inventory.resolved_vars("h1")
    assert (
        variables["long"]
        == "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
    )
    assert variables["short"] == "$5$rounds=1000$saltstring$z/y8l95GSjij6uHx2xAJer7YCODLtrhIxItWC13D4g5"
    assert variables["stock"].startswith("$6$rounds=656000$saltstring$YWf8T7KB7BoLFTeAHxcpYVXPG8V.")
    assert "'md5'" in reason(inventory, "other")
    assert "rounds" in reason(inventory, "endless")


def test_only_what_a_template_wrote_can_grow(tmp_path: Path) -> None:
    """Fails if a template can change a list of the inventory, or one that another template made."""
    inventory = make(
        tmp_path,
        hosts="web: {hosts: {h1: }}",
        group_vars__all="""\
written: [1]
made: "{{ [1] }}"
nested: "{{ {'a': [1]} }}"
change_written: "{% set _ = written.append(2) %}{{ written }}"
change_made: "{% set _ = made.append(2) %}{{ made }}"
change_nested: "{% set _ = nested.a.append(2) %}{{ nested }}"
change_groups: "{% set _ = groups.web.append('h2') %}{{ groups }}"
itself: "{% set a = [] %}{% set _ = a.append(a) %}{{ a }}"
doubled: "{% set a = [1] %}{% set _ = a.extend(a) %}{{ a }}"
""",
    )
    for key in ("change_written", "change_made", "change_nested", "change_groups", "doubled"):
        assert "unsafe" in reason(inventory, key)
    variables = inventory.resolved_vars("h1")
    assert variables["itself"] == [[]]  # a copy: nothing holds itself
    assert (variables["written"], variables["made"], variables["nested"]) == ([1], [1], {"a": [1]})


def test_untrusted_lookups_read_nothing(tmp_path: Path) -> None:
    """Fails if an untrusted inventory reads files by one of the lookups, or learns which there are."""
    source = tmp_path / "inventory"
    source.mkdir()
    (tmp_path / "own.txt").write_text("of the person")
    (source / "hosts.yml").write_text(
        "web:\n  hosts:\n    h1:\n"
        + "".join(
            f"      {kind}: \"{{{{ query('{name}', '{tmp_path}/own.txt') }}}}\"\n"
            for kind, name in (
                ("a", "file"), ("b", "template"), ("c", "password"), ("d", "first_found"), ("e", "fileglob"),
                ("f", "ansible.builtin.template"), ("g", "ansible.legacy.fileglob"),
            )
        )
    )  # fmt: skip
    fence = fence_around(source, tmp_path, [])
    variables = load_inventory(str(source), tmp_path, environ={}, fence=fence).resolved_vars("h1")
    assert {key: variables[key] for key in "abcdefg"} == {key: [NOT_READ] for key in "abcdefg"}


def test_omit_leaves_out(tmp_path: Path) -> None:
    """Fails if default(omit) does not leave the entry out of its mapping, list or host."""
    inventory = make(
        tmp_path,
        hosts="web: {hosts: {h1: {d: {a: 1, b: '{{ x | default(omit) }}'}, l: [1, '{{ omit }}'], v: '{{ omit }}'}}}",
    )
    variables = inventory.resolved_vars("h1")
    assert variables["d"] == {"a": 1}
    assert variables["l"] == [1]
    assert variables.get("v", "left out") == "left out"


def test_render(tmp_path: Path) -> None:
    """Fails if a template file is not rendered as Ansible's template module renders it."""
    inventory = make(tmp_path, hosts="web: {hosts: {h1: {p: 80, l: [1, 2]}}}")
    text = "{% for x in l %}\nlisten {{ p }}; # {{ x }} {{ slot }}\n{% endfor %}\n\\d {{ '\\\\d' }}\n"
    rendered = inventory.render("h1", text, Path("site.conf.j2"), {"slot": "blue", "p": 8080})
    assert rendered == "listen 8080; # 1 blue\nlisten 8080; # 2 blue\n\\d \\d\n"
    for wrong, words in (
        ("a\n{{ nope }}", "'nope' is undefined"),
        ("a\n{% if %}", "site.conf.j2:2"),
        ("{{ 1 / 0 }}", "zero"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            inventory.render("h1", wrong, Path("site.conf.j2"))
        assert "site.conf.j2" in str(caught.value)


def vault_case(environ: dict[str, str]) -> Inventory:
    return load_inventory(str(source_of("vault")), CASES / "vault", environ=environ)


def test_vault_values_stay_closed_until_they_are_asked_for() -> None:
    """Fails if loading needs the password, or a value that is not secret does."""
    inventory = load_inventory(str(source_of("vault") / "hosts.yml"), Path("/"), environ={})
    assert "db1" in inventory.hosts
    with pytest.raises(ConfigError, match=r"vault\.yml: it is encrypted and no password is set"):
        inventory.vars_for("db1")  # a wholly encrypted file hides even its names


def test_vault_passwords(tmp_path: Path) -> None:
    """Fails if a wrong password, a script, or a password file that is not there is not told, or the script is not run."""
    right = (CASES / "vault" / "vault-password").read_text().strip()
    script = tmp_path / "ask"
    script.write_text(f"#!/bin/sh\necho '{right}'\n")
    script.chmod(0o700)
    inventory = vault_case({"ANSIBLE_VAULT_PASSWORD_FILE": str(script)})
    assert inventory.resolved_vars("db1")["db_password"] == "s3cr3t-ünï"
    assert "another password" in reason(inventory, "labelled", "db1")

    wrong = tmp_path / "wrong"
    wrong.write_text("wrong\n")
    with pytest.raises(ConfigError, match="another password"):
        vault_case({"ANSIBLE_VAULT_PASSWORD_FILE": str(wrong)}).vars_for("db1")
    with pytest.raises(ConfigError, match="cannot be read"):
        vault_case({"ANSIBLE_VAULT_PASSWORD_FILE": str(tmp_path / "none")}).vars_for("db1")
    script.write_text("#!/bin/sh\necho locked >&2; exit 3\n")
    with pytest.raises(ConfigError, match="status 3: locked"):
        vault_case({"ANSIBLE_VAULT_PASSWORD_FILE": str(script)}).vars_for("db1")
    wrong.write_text("\n")
    with pytest.raises(ConfigError, match="empty"):
        vault_case({"ANSIBLE_VAULT_PASSWORD_FILE": str(wrong)}).vars_for("db1")


def test_an_altered_secret_is_refused(tmp_path: Path) -> None:
    """Fails if one changed bit in an encrypted value decrypts to something, or damage gives a traceback."""
    original = source_of("vault") / "hosts.yml"
    lines = original.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if "$ANSIBLE_VAULT" in line)
    block = [line.strip() for line in lines[at : at + 6]]
    flipped = [*block[:5], block[5][:-1] + ("1" if block[5][-1] != "1" else "3")]
    damaged = {
        "flipped": flipped,
        "cut": block[:3],
        "header only": block[:1],
        "no header": block[1:],
        "odd": [*block, "a"],
        "other cipher": ["$ANSIBLE_VAULT;1.1;AES", *block[1:]],
        "other version": ["$ANSIBLE_VAULT;9.9;AES256", *block[1:]],
        "empty": [""],
    }
    for name, text in damaged.items():
        body = "\n".join("          " + line for line in text)
        inventory = make(tmp_path, hosts=f"db:\n  hosts:\n    h1:\n      secret: !vault |\n{body}\n")
        with pytest.raises(ConfigError) as caught:
            load_inventory(str(tmp_path / "inventory"), tmp_path, environ=vault_environ("vault")).resolved_vars("h1")[
                "secret"
            ]
        assert "hosts.yml:4: secret of host h1" in str(caught.value), name
        assert isinstance(inventory.vars_for("h1")["secret"], VaultValue)


def test_secrets_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a secret, or what is made of it, is not known as one, or a message or repr shows it."""
    monkeypatch.setenv("SLIPWAY_TEST_SECRET", "from-env")
    inventory = vault_case(vault_environ("vault"))
    variables = inventory.resolved_vars("db1")
    assert "s3cr3t" in variables["dsn"]
    secret = {key for key in variables if variables.is_secret(key)}
    assert secret == {"db_password", "templated_secret", "labelled", "dsn", "tree", "list_of", "file_secret", "vault_file_secret", "vault_tree"}  # fmt: skip
    for shown in (
        repr(inventory),
        repr(inventory.vars_for("db1")["db_password"]),
        str(inventory.vars_for("db1")["db_password"]),
    ):
        assert "s3cr3t" not in shown
        assert "3835376565" not in shown
    other = make(
        tmp_path,
        hosts="a: {hosts: {h1: {e: \"{{ lookup('env', 'SLIPWAY_TEST_SECRET') }}\", f: \"{{ e | from_json }}\", g: 1}}}",
    )
    assert other.resolved_vars("h1").is_secret("e")
    assert not other.resolved_vars("h1").is_secret("g")
    assert "from-env" not in reason(other, "f")


def test_several_threads_resolve_at_once(tmp_path: Path) -> None:
    """Fails if two threads that resolve the same variables see a loop that is not there."""
    text = "".join(f'v{i}: "{{{{ v{i + 1} }}}}"\n' for i in range(40)) + 'v40: "{{ hostvars.h2.w }}"\n'
    inventory = make(tmp_path, hosts="web: {hosts: {h1: , h2: {w: '{{ v41 }}'}}}", group_vars__all=text + "v41: 7\n")
    failures: list[object] = []

    def resolve(host: str) -> None:
        try:
            failures.extend(
                value for value in (inventory.resolved_vars(host)[f"v{i}"] for i in range(42)) if value != 7
            )
        except ConfigError as error:
            failures.append(error)

    threads = [threading.Thread(target=resolve, args=(host,)) for host in ("h1", "h2") * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_importing_and_loading_stay_light(tmp_path: Path) -> None:
    """Fails if loading an inventory pulls in jinja2, cryptography or pydantic before they are needed."""
    make(tmp_path, hosts="web: {hosts: {h1: }}")
    code = (
        "import sys; from pathlib import Path; from playbooks.inventory import load_inventory;"
        f"load_inventory({str(tmp_path / 'inventory')!r}, Path('/')).vars_for('h1');"
        "print(sorted({'jinja2', 'cryptography', 'pydantic', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"


def test_500_hosts_load_in_well_under_a_second(tmp_path: Path) -> None:
    """Fails if a fleet of 500 hosts, each with variables and a file of its own, takes more than a second of CPU."""
    hosts = "".join(f"        h{i}: {{ansible_host: 10.0.0.{i}, a: 1, b: [x, y]}}\n" for i in range(500))
    make(
        tmp_path,
        hosts=f"all:\n  children:\n    web:\n      hosts:\n{hosts}",
        **{f"host_vars__h{i}": "p: 1\nq: '{{ a }}'\n" for i in range(500)},
    )
    began = time.process_time()
    inventory = load_inventory(str(tmp_path / "inventory"), tmp_path)
    assert all(inventory.resolved_vars(name).starting_with("q") == {"q": 1} for name in inventory.hosts)
    assert time.process_time() - began < 1
