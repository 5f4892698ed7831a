"""Facts a user states, validated before any host is touched."""

from playbooks.settings.model import Settings

__all__ = ["Settings"]
