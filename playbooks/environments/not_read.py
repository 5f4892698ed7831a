"""List what Slipway does not use of an inventory that is not trusted."""

from __future__ import annotations

from collections.abc import Iterator

from playbooks.environments.environment import Environment
from playbooks.environments.targets import Target
from playbooks.fleet.ssh_arguments import names
from playbooks.settings.load import PREFIX
from playbooks.settings.model import CommandSecret, FileSecret

_ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
_KEYS = ("ansible_ssh_private_key_file", "ansible_private_key_file", *_ARGUMENTS)
_OF_ANSIBLE = (
    "ansible.cfg, ANSIBLE_HASH_BEHAVIOUR: not read, so of several mappings of one name the last one counts: {}"
)


def not_read(env: Environment) -> tuple[str, ...]:
    """Return a sentence for each, with its place; equal sentences for several hosts appear once."""
    of_targets = (sentence for target in env.targets for sentence in _of(env, target))
    replaced = dict.fromkeys(key for target in env.targets for key in env.inventory.replaced_mappings(target.name))
    of_ansible = [_OF_ANSIBLE.format(", ".join(replaced))] if replaced else []
    return tuple(dict.fromkeys([*of_ansible, *of_targets]))


def _of(env: Environment, target: Target) -> Iterator[str]:
    def where(*keys: str) -> str:
        found = (env.inventory.origin(target.name, key) for key in keys)
        return next(filter(None, found), target.name)

    address, settings = target.address, target.settings
    named = names(address.ssh_arguments)
    if "proxycommand" in named:
        yield f"{where(*_ARGUMENTS)}: ProxyCommand: a command that connections run on this machine; not run"
    if "userknownhostsfile" in named:
        yield f"{where(*_ARGUMENTS)}: UserKnownHostsFile: says which hosts are trusted, instead of your own; not read"
    if "identityfile" in named:
        yield f"{where(*_KEYS)}: a private key on this machine, for connections; not read"
    if "-F" in address.ssh_arguments:
        yield f"{where(*_ARGUMENTS)}: settings of ssh on this machine, which may name commands; not read"
    for name, source in settings.secrets.items():
        at = env.inventory.origin(target.name, f"{PREFIX}secrets", name)
        if isinstance(source, CommandSecret):
            yield f"{at}: {PREFIX}secrets.{name}: a command on this machine, '{source.command[0]}'; not run"
        elif isinstance(source, FileSecret):
            yield f"{at}: {PREFIX}secrets.{name}: a file on this machine, {source.file}; not read"
        else:
            yield f"{at}: {PREFIX}secrets.{name}: an environment variable, {source.env}; not read"
    if settings.artifact:
        yield f"{where(f'{PREFIX}artifact')}: {PREFIX}artifact: where versions are; not looked for"
