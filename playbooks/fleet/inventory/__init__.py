"""Ansible's YAML inventories: hosts, groups, variables and patterns, with the answers of ansible-core 2.19."""

from playbooks.fleet.inventory.document import read_text
from playbooks.fleet.inventory.fence import FLAG, NOT_READ, TRUSTED, Fence, fence_around
from playbooks.fleet.inventory.layers import Layer
from playbooks.fleet.inventory.load import load_inventory
from playbooks.fleet.inventory.model import Group, Host, Inventory
from playbooks.fleet.inventory.patterns import limit, select
from playbooks.fleet.inventory.source import environments, find_source
from playbooks.fleet.inventory.vault import VaultValue

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
