"""How hosts fetch an artifact themselves: from a web server, or from S3-style object storage."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from playbooks.settings.types import Count, Duration, Model, Text, section

# What a fetch that goes on in the middle sends itself.
_OURS = ("host", "range", "if-range", "content-length")


def _header(value: str) -> str:
    if value.lower() in _OURS:
        raise ValueError(f"{value} is sent by the fetch itself")
    return value


def _endpoint(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if scheme not in ("http", "https") or not rest or set("@?# ") & set(rest):
        raise ValueError("expected http(s)://HOST[:PORT], without user, query or blanks")
    return value.rstrip("/")


# RFC 9110, 5.6.2, without the marks that nobody uses in a header's name.
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=100), AfterValidator(_header)]
Endpoint = Annotated[Text, AfterValidator(_endpoint)]


class ObjectStore(Model):
    """An S3-style object store (AWS, MinIO, Garage, Ceph, Swift, R2) for artifacts at s3://BUCKET/KEY.

    The controller signs a URL for one object; hosts get no credentials.
    """

    endpoint: Endpoint | None = Field(
        None, description="Its URL, as the controller and the hosts reach it; left out: AWS."
    )
    region: Text = Field("us-east-1", min_length=1, description="The region that requests are signed for.")
    addressing: Literal["path", "virtual"] | None = Field(
        None,
        description="Where the bucket's name goes: into the path or before the host's name; left out: `path` with an "
        "endpoint, `virtual` with AWS.",
    )
    access_key: Text | None = Field(
        None,
        description="Name of the secret that holds the access key; left out: the standard AWS variables, profile or "
        "role of the controller.",
    )
    secret_key: Text | None = Field(None, description="Name of the secret that holds the secret key.")
    session_token: Text | None = Field(None, description="Name of the secret that holds a session's token.")
    profile: Text | None = Field(None, description="Profile in the controller's ~/.aws, instead of keys.")
    valid: Duration = Field(
        3600.0, ge=60, le=604_800, description="How long a signed URL is valid; AWS allows 7 days at the most."
    )

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key go together")
        if self.session_token and not self.access_key:
            raise ValueError("session_token needs access_key and secret_key")
        if self.profile and self.access_key:
            raise ValueError("profile and access_key exclude each other")
        return self


class Pull(Model):
    """How hosts fetch an artifact that is at a URL, so that the controller sends nothing."""

    parallel: int = Field(8, ge=1, le=512, description="Hosts that fetch at the same time; the others wait.")
    timeout: Duration = Field(
        1800.0,
        ge=1,
        description="One host's fetch, with all its tries. What came until then is kept for the next deploy.",
    )
    retries: Count = Field(
        6,
        le=100,
        description="How often a host tries again in a row without getting a byte further; it waits 1 s, 2 s, 4 s … "
        "30 s in between.",
    )
    headers: dict[HeaderName, Text] = Field(
        {},
        description="Request headers by name; {NAME} is filled in with that secret: "
        "`Authorization: Bearer {forge_token}`. They go to the URL's own server and to none it redirects to. Not "
        "for s3://.",
    )
    s3: ObjectStore = section("Object storage.")
