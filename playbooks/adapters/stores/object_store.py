"""Use S3-style object storage: the controller signs a URL for one object, so that hosts need no credentials."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from playbooks.adapters.stores.web import MAX_BYTES
from playbooks.core.artifact import FetchRequest
from playbooks.core.errors import UsageError
from playbooks.core.unreached import unreached
from playbooks.settings.pull import ObjectStore

T = TypeVar("T")
ANSWER_SECONDS = 10
# The search for the newest version looks at this many objects at most.
MAX_OBJECTS = 10_000
GONE = ("404", "NoSuchKey", "NotFound")
HINT = "slipway_pull.s3 names endpoint, region and credentials"
UNREACHED = "slipway_pull.s3.endpoint names the server; does `curl --head` of that work on this machine?"


class Bucket:
    """The controller's S3 client.

    Args:
        settings: ``slipway_pull.s3``.
        secrets: the values by name.

    Raises:
        UsageError: botocore is not installed, or there are no credentials.
    """

    def __init__(self, settings: ObjectStore, secrets: Mapping[str, str]) -> None:
        self._settings = settings
        with _told("s3://"):
            self._client = _client(settings, secrets)

    def sign(self, bucket: str, key: str) -> str:
        """Sign a URL for this object, without a request. Anybody may fetch it for as long as ``valid`` says."""
        with _told(f"s3://{bucket}/{key}"):
            url: str = self._client.generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=int(self._settings.valid)
            )
        return url

    def head(self, bucket: str, key: str) -> bool:
        """Return whether the object exists."""
        return self._unless_gone(lambda: self._client.head_object(Bucket=bucket, Key=key), bucket, key) is not None

    def read(self, bucket: str, key: str) -> bytes | None:
        """Read an object's first bytes; None if it does not exist."""
        answer = self._unless_gone(lambda: self._client.get_object(Bucket=bucket, Key=key), bucket, key)
        return None if answer is None else bytes(answer["Body"].read(MAX_BYTES))

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Return the keys with this prefix, without those in folders below."""
        with _told(f"s3://{bucket}/{prefix}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix, Delimiter="/", PaginationConfig={"MaxItems": MAX_OBJECTS}
            )
            return [str(found["Key"]) for page in pages for found in page.get("Contents", [])]

    def _unless_gone(self, ask: Callable[[], T], bucket: str, key: str) -> T | None:
        from botocore.exceptions import ClientError

        with _told(f"s3://{bucket}/{key}"):
            try:
                return ask()
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in GONE:
                    return None
                raise


class ObjectInStore:
    """An artifact in an object store.

    Args:
        url: s3://BUCKET/KEY.
        bucket: the client.
    """

    def __init__(self, url: str, bucket: Bucket) -> None:
        self._bucket_name, self._key = split(url)
        self._bucket = bucket
        self._url = url

    def request(self) -> FetchRequest:
        """Return a URL signed now."""
        return FetchRequest(self._bucket.sign(self._bucket_name, self._key))

    def checksum(self) -> str:
        """Read the checksum object beside it. The error says if the artifact itself is missing."""
        found = self._bucket.read(self._bucket_name, self._key + ".sha256")
        if found is not None:
            return found.decode("utf-8", "replace")
        self.require()
        raise UsageError(
            f"no checksum for {self._url}: there is no {self._url}.sha256",
            hint="put a .sha256 object beside the artifact, or give --sha256=…",
        )

    def require(self) -> None:
        """Make sure that the artifact exists.

        Raises:
            UsageError: it does not exist.
        """
        if not self._bucket.head(self._bucket_name, self._key):
            raise UsageError(f"there is no {self._url}", hint="is slipway_artifact, or --artifact, right?")


def split(url: str) -> tuple[str, str]:
    """Split s3://BUCKET/KEY into bucket and key.

    Raises:
        UsageError: one of them is missing.
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not bucket or not key or "@" in bucket:
        raise UsageError(f"'{url}' names no object", hint="expected s3://BUCKET/KEY")
    return bucket, key


def _client(settings: ObjectStore, secrets: Mapping[str, str]) -> Any:  # noqa: ANN401 - made at run time, has no type
    import botocore.session
    from botocore.config import Config

    style = settings.addressing or ("path" if settings.endpoint else "virtual")
    session = botocore.session.Session(profile=settings.profile)
    keys = (settings.access_key, settings.secret_key, settings.session_token)
    if settings.access_key:
        session.set_credentials(*(secrets[name] if name else None for name in keys))
    elif session.get_credentials() is None:
        raise UsageError(
            "there are no credentials for s3://",
            hint="set slipway_pull.s3.access_key and secret_key to names of secrets, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or a profile",
        )
    return session.create_client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": style},
            connect_timeout=ANSWER_SECONDS,
            read_timeout=ANSWER_SECONDS,
            retries={"total_max_attempts": 3, "mode": "standard"},
        ),
    )


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn botocore's errors into sentences. Its messages name key ids and places, but no secret."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
    except ImportError:
        raise UsageError(
            f"{what} needs botocore, which is not installed",
            hint=".venv/bin/pip install --requirement requirements-s3.txt",
        ) from None
    try:
        yield
    except ClientError as error:
        found = error.response.get("Error", {})
        said = ": ".join(str(found[part]) for part in ("Code", "Message") if found.get(part))
        raise UsageError(f"the object store refuses {what}: {said[:200] or 'without a word'}", hint=HINT) from None
    except (ConnectionError, HTTPClientError) as error:
        why = unreached(error, str(error.kwargs.get("endpoint_url", "")), ANSWER_SECONDS)
        raise UsageError(f"the object store could not be asked for {what}: {why}", hint=UNREACHED) from None
    except BotoCoreError as error:
        raise UsageError(f"the object store cannot be asked for {what}: {str(error)[:300]}", hint=HINT) from None
