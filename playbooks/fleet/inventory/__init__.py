"""Ansible's YAML inventories: hosts, groups, variables and patterns, with the answers of ansible-core 2.19."""

from playbooks.fleet.inventory.document import read_text
from playbooks.fleet.inventory.load import load_inventory
from playbooks.fleet.inventory.model import Group, Host, Inventory
from playbooks.fleet.inventory.patterns import limit, select
from playbooks.fleet.inventory.source import environments
from playbooks.fleet.inventory.vault import VaultValue

__all__ = ["Group", "Host", "Inventory", "VaultValue", "environments", "limit", "load_inventory", "read_text", "select"]
