"""Requests to a new release before it gets traffic (B2, G3)."""

from typing import Annotated

from pydantic import Field

from playbooks.settings.types import Count, Duration, Model, Text

# {port} is the server's.
WarmUrl = Annotated[Text, Field(pattern=r"^https?://[^\s]+$", max_length=500)]


class WarmUp(Model):
    """Requests that fill caches and pools. Each host makes them to itself, after it is healthy and before it gets
    traffic.
    """

    urls: list[WarmUrl] = Field(min_length=1, description="The URLs, e.g. http://127.0.0.1:{port}/.")
    times: Count = Field(10, ge=1, le=1000, description="How often to request each URL.")
    parallel: int = Field(4, ge=1, le=64, description="How many requests to make at the same time.")
    timeout: Duration = Field(
        30.0, gt=0, description="Time limit for all requests. Those not made by then are left out."
    )
    required: bool = Field(False, description="Whether a failed request fails the host. Otherwise it is only reported.")
