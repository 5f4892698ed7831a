"""What stands in front of the application, and how traffic is moved there."""

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


class Tag(Model):
    """What a request carries."""

    name: Token = Field(description="Its name.")
    value: PlainValue = Field(description="Its value.")


class Testers(Model):
    """Who gets the new release first (B3): requests with this header or this cookie."""

    header: Tag | None = Field(None, description="Header that a tester's requests carry.")
    cookie: Tag | None = Field(None, description="Cookie that a tester's requests carry.")

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not (self.header or self.cookie):
            raise ValueError("expected a header, a cookie or both")
        return self


class Tls(Model):
    """The certificate, which is yours: it lies on the balancer's hosts, and you renew it."""

    certificate: AbsolutePath = Field(description="PEM file on the balancer's hosts: the certificate and its chain.")
    key: AbsolutePath | None = Field(None, description="Its private key; left out, it is in the same file.")
    ports: list[Port] = Field(default=[443], min_length=1, description="Where clients reach it by TLS.")
    names: list[HostName] = Field(
        [],
        description="Host names that clients use; provision refuses a certificate that is not for all of them.",
    )
    least_days: Count = Field(
        30, description="Provision refuses a certificate that is valid for less, status warns of it (D1)."
    )


class Extra(Model):
    """Lines of your own for the stock template, in the balancer's own words."""

    general: list[Text] = Field([], description="For HAProxy's global, nginx's main section.")
    defaults: list[Text] = Field([], description="For HAProxy's defaults, nginx's http section.")
    frontend: list[Text] = Field([], description="For the frontend, nginx's server section.")
    backend: list[Text] = Field([], description="For the backends, nginx's location.")


class Balancer(Model):
    """The hosts in front of the application."""

    hosts: Pattern = Field(description="Pattern of the hosts, e.g. edge.")
    kind: Literal["haproxy", "nginx"] = Field("haproxy", description="What balances there.")
    template: TemplatePath | None = Field(
        None, description="Template of its configuration; the stock one, templates/balancer/, when left out."
    )
    page: TemplatePath = Field("balancer/maintenance.html.j2", description="Template of the maintenance page (G2).")
    retry_after: Count = Field(120, description="Seconds after which clients are told to come back in maintenance.")
    listen: list[Port] = Field(default=[80], description="Where clients reach it; [] with TLS only.")
    tls: Tls | None = Field(None, description="TLS.")
    backend: BackendName | None = Field(None, description="Name of the backend; the application's when left out.")
    port: Port = Field(8000, description="Where the servers listen; a host may say another in slipway_port.")
    health_path: UrlPath = Field("/health/ready", description="What the balancer asks servers for; 200 is up.")
    health_host: HostName | None = Field(None, description="The Host header it asks with; the application's name.")
    drain: Duration = Field(30.0, description="How long requests in flight are waited for before a server goes off.")
    slow_start: Duration = Field(
        0.0,
        description="How long the share of a server that comes up grows until it has all of it; a deploy waits for "
        "that before others lose theirs (HAProxy only).",
    )
    linger: Duration = Field(
        3600.0, gt=0, description="How long connections may go on in a process that a reload has replaced."
    )
    keepalive: Duration | None = Field(
        None,
        description="How long an idle client's connection is kept: 60 s with HAProxy, none with nginx, which closes "
        "them at each reload, where a request may be just on its way and fails.",
    )
    testers: Testers | None = Field(None, description="Who gets the new release first.")
    socket: AbsolutePath = Field("/run/haproxy/admin.sock", description="HAProxy's admin socket.")
    extra: Extra = section("Lines of your own.")

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
        if self.kind == "haproxy" and self.tls and self.tls.key not in (None, f"{self.tls.certificate}.key"):
            raise ValueError(f"tls.key: HAProxy looks for it in {self.tls.certificate} or the same with .key behind")
        return self
