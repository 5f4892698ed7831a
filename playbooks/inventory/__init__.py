"""Read Ansible's YAML inventories: hosts, groups, variables and patterns, as ansible-core 2.19 does."""

from playbooks.inventory.document import read_text
from playbooks.inventory.fence import FLAG, NOT_READ, TRUSTED, Fence, fence_around
from playbooks.inventory.layers import Layer
from playbooks.inventory.load import load_inventory
from playbooks.inventory.model import Group, Host, Inventory
from playbooks.inventory.patterns import limit, select
from playbooks.inventory.source import environments, find_source
from playbooks.inventory.vault import VaultValue

__all__ = [
    "FLAG",
    "NOT_READ",
    "TRUSTED",
    "Fence",
    "Group",
    "Host",
    "Inventory",
    "Layer",
    "VaultValue",
    "environments",
    "fence_around",
    "find_source",
    "limit",
    "load_inventory",
    "read_text",
    "select",
]
