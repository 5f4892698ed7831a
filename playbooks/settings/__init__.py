"""What a user sets, validated before any host is reached."""

from playbooks.settings.model import Settings

__all__ = ["Settings"]
