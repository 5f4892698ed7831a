"""The balancer in front of the application, and how traffic moves there."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from playbooks.settings.services import TemplatePath
from playbooks.settings.types import AbsolutePath, Count, Duration, Model, Pattern, Port, Text, section

# A header's or cookie's name: a token of HTTP (RFC 9110, 5.6.2), less what balancers read as their own.
Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=60)]
# A value that stands in quotes in a configuration, where neither balancer reads anything into it.
PlainValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:@/+=-]+$", max_length=200)]
# HAProxy's own rule for names of backends.
BackendName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=60)]
UrlPath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9_./~%?&=-]*$", max_length=200)]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$", max_length=253)]

# One that a balancer compares with what clients say: nothing that it reads as a pattern, or as an option.
ServerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", max_length=253)]
# Certificates that Slipway or certbot puts on a balancer's host, by application; root's alone.
CERTIFICATES = "/etc/ssl/slipway"


class Tag(Model):
    """A header or a cookie."""

    name: Token = Field(description="Its name.")
    value: PlainValue = Field(description="Its value.")


class Testers(Model):
    """Testers reach the new release first. Their requests have this header or this cookie."""

    header: Tag | None = Field(None, description="The header of testers' requests.")
    cookie: Tag | None = Field(None, description="The cookie of testers' requests.")

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not (self.header or self.cookie):
            raise ValueError("expected a header, a cookie or both")
        return self


class Acme(Model):
    """An authority that issues certificates by ACME to whoever answers at the host names."""

    server: Text = Field(
        "https://acme-v02.api.letsencrypt.org/directory",
        pattern=r"^https://[^@\s]+$",
        description="The authority's directory. The balancer's host must trust its certificate.",
    )
    email: Annotated[Text, Field(pattern=r"^[^@\s]+@[^@\s]+$")] | None = Field(
        None, description="Address to which the authority may send mail. Default: none."
    )


class Tls(Model):
    """The certificate: a file on the balancer's hosts, a secret, or one that ACME gets and renews."""

    certificate: AbsolutePath | None = Field(
        None, description="PEM file on the balancer's hosts: the certificate and its chain. You renew it."
    )
    key: AbsolutePath | None = Field(None, description="Its private key. Default: the key is in the same file.")
    secret: Text | None = Field(
        None, description="Instead of a file: name of the secret that holds certificate, chain and key in PEM form."
    )
    acme: Acme | None = Field(
        None,
        description="Instead of a file: certbot gets a certificate for `names` and renews it. {} uses Let's Encrypt. "
        "The balancer must be one host.",
    )
    ports: list[Port] = Field(default=[443], min_length=1, description="The ports at which clients reach it with TLS.")
    names: list[HostName] = Field(
        [],
        description="Host names that clients use. Provision refuses a certificate that lacks one of them. Default: "
        "the balancer's `names`.",
    )
    redirect: bool | None = Field(
        None, description="Whether requests at `listen` are redirected to TLS. Default: with acme yes, otherwise no."
    )
    least_days: Count | None = Field(
        None,
        description="Provision refuses a certificate that is valid for fewer days, and status warns of it. Default: "
        "30, with acme 7.",
    )

    @property
    def redirects(self) -> bool:
        """Whether clients are sent from plain HTTP to TLS."""
        return self.acme is not None if self.redirect is None else self.redirect

    @property
    def days(self) -> int:
        """How long a certificate must be valid for."""
        return self.least_days if self.least_days is not None else 7 if self.acme else 30

    def place(self, app: str) -> str:
        """Where the certificate lies on the balancer's hosts."""
        return self.certificate or f"{CERTIFICATES}/{app}.pem"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(one is not None for one in (self.certificate, self.secret, self.acme)) != 1:
            raise ValueError("expected one of certificate, secret and acme")
        if self.key and not self.certificate:
            raise ValueError("key goes with certificate; a secret has both in it")
        return self


class Extra(Model):
    """Lines of the balancer's own configuration language to add to the stock template."""

    general: list[Text] = Field([], description="For HAProxy's global, nginx's main section.")
    defaults: list[Text] = Field([], description="For HAProxy's defaults, nginx's http section.")
    frontend: list[Text] = Field([], description="For the frontend, nginx's server section.")
    backend: list[Text] = Field([], description="For the backends, nginx's location.")


class Balancer(Model):
    """The balancer in front of the application."""

    hosts: Pattern = Field(description="Pattern of the balancer's hosts, e.g. edge.")
    kind: Literal["haproxy", "nginx"] = Field("haproxy", description="The program that balances.")
    template: TemplatePath | None = Field(
        None, description="Template of its configuration. Default: the stock template in templates/balancer/."
    )
    page: TemplatePath = Field("balancer/maintenance.html.j2", description="Template of the maintenance page.")
    retry_after: Count = Field(
        120, description="During maintenance, the seconds after which clients should try again (Retry-After)."
    )
    listen: list[Port] = Field(
        default=[80], description="The ports at which clients reach it without TLS. [] for TLS only."
    )
    names: list[ServerName] = Field(
        [],
        description="Host names that clients use for this application. Applications with names may share ports. "
        "Default: every request at its ports is for this application.",
    )
    tls: Tls | None = Field(None, description="TLS.")
    backend: BackendName | None = Field(None, description="Name of the backend. Default: the application's name.")
    port: Port = Field(
        8000,
        description="The port at which the application listens on its hosts. slipway_port overrides it for a host.",
    )
    health_path: UrlPath = Field(
        "/health/ready", description="The path of the balancer's health check. Status 200 means up."
    )
    health_host: HostName | None = Field(
        None,
        description="The Host header of the balancer's health check. Default: the first of `names`, or else the "
        "application's name.",
    )
    drain: Duration = Field(30.0, description="How long to wait for requests in flight before a server is turned off.")
    slow_start: Duration = Field(
        0.0,
        description="How long the share of a server that comes up grows until it is complete. A deploy waits for "
        "that before it turns others off (HAProxy only).",
    )
    linger: Duration = Field(
        3600.0, gt=0, description="How long connections may last in a process that a reload has replaced."
    )
    keepalive: Duration | None = Field(
        None,
        description="How long the connection of an idle client is kept. Default: 60 s with HAProxy; 0 with nginx, "
        "because nginx closes these connections at each reload, and a request that arrives then fails.",
    )
    testers: Testers | None = Field(None, description="Requests that reach the new release first.")
    socket: AbsolutePath = Field("/run/haproxy/admin.sock", description="HAProxy's admin socket.")
    extra: Extra = section("Lines of your own.")

    @property
    def asked_as(self) -> str | None:
        """The Host header that it asks servers with; None: the application's name."""
        return self.health_host or next(iter(self.names), None)

    @property
    def tls_names(self) -> list[str]:
        """Host names that the certificate is for."""
        return (self.tls.names if self.tls else []) or self.names

    @property
    def kept_alive(self) -> float:
        """Seconds that an idle client's connection is kept."""
        return self.keepalive if self.keepalive is not None else {"haproxy": 60.0, "nginx": 0.0}[self.kind]

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if not self.listen and self.tls is None:
            raise ValueError("listen: expected a port, or tls")
        if self.kind == "nginx" and self.slow_start:
            raise ValueError("slow_start: nginx's open edition has none; take HAProxy, or warm releases up before")
        if self.tls and self.tls.acme and not (self.tls_names and 80 in self.listen):
            raise ValueError("tls.acme: the authority looks for names at port 80: expected names, and 80 in listen")
        if (self.names or (self.tls and self.tls.acme)) and self.template:
            raise ValueError("template: names and tls.acme are of the stock template; leave one or the other out")
        if self.kind == "haproxy" and self.tls and self.tls.key not in (None, f"{self.tls.certificate}.key"):
            raise ValueError(f"tls.key: HAProxy looks for it in {self.tls.certificate} or the same with .key behind")
        return self
