"""What provision finds wrong before a host is reached."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from playbooks.core.errors import ConfigError
from playbooks.environments.load import load_environment
from playbooks.fleet.progress import Silent
from playbooks.provision import provision

PROJECT = Path(__file__).resolve().parent.parent.parent


def test_a_secret_that_cannot_be_had_is_found_before_a_host_is_reached(tmp_path: Path) -> None:
    """It was found on one host while the others were set up, and told as 'nothing was touched'."""
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "hosts.yml").write_text("app:\n  hosts:\n    web1: {ansible_host: 127.0.0.1, ansible_port: 1}\n")
    settings = {
        "slipway_app": "shop",
        "slipway_services": [{"name": "shop", "unit": {"Service": {"ExecStart": "/run"}}}],
        "slipway_databases": [{"name": "shop", "via": "web1", "owner": "shop", "owner_password": "db"}],
        "slipway_secrets": {"db": {"file": str(tmp_path / "nothing")}},
    }
    (tmp_path / "group_vars" / "all.yml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigError, match="secret 'db'"):
        provision(load_environment(str(tmp_path), PROJECT), Silent())
