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
        None, description="Its URL, as both the controller and the hosts reach it. Default: AWS."
    )
    region: Text = Field("us-east-1", min_length=1, description="The region for which requests are signed.")
    addressing: Literal["path", "virtual"] | None = Field(
        None,
        description="Whether the bucket's name is in the path or in front of the host's name. Default: `path` with "
        "an endpoint, `virtual` with AWS.",
    )
    access_key: Text | None = Field(
        None,
        description="Name of the secret that holds the access key. Default: the controller's standard AWS variables, "
        "profile or role.",
    )
    secret_key: Text | None = Field(None, description="Name of the secret that holds the secret key.")
    session_token: Text | None = Field(None, description="Name of the secret that holds a session's token.")
    profile: Text | None = Field(None, description="Profile in the controller's ~/.aws, instead of keys.")
    valid: Duration = Field(
        3600.0, ge=60, le=604_800, description="How long a signed URL is valid. AWS allows at most 7 days."
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
    """How hosts fetch an artifact from a URL. The controller sends nothing then."""

    parallel: int = Field(8, ge=1, le=512, description="How many hosts fetch at the same time. The others wait.")
    timeout: Duration = Field(
        1800.0,
        ge=1,
        description="Time limit for one host, including retries. What it has fetched by then is kept for the next "
        "deploy.",
    )
    retries: Count = Field(
        6,
        le=100,
        description="How often in a row a host tries again without getting a further byte. It waits 1 s, 2 s, 4 s … "
        "30 s in between.",
    )
    headers: dict[HeaderName, Text] = Field(
        {},
        description="Request headers by name. {NAME} is replaced with that secret: `Authorization: Bearer "
        "{forge_token}`. They go only to the URL's own server, not to a server that it redirects to. Not "
        "for s3://.",
    )
    s3: ObjectStore = section("Object storage.")
