"""Where the numbers come from by which a release is judged."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from playbooks.settings.selector import selector_text
from playbooks.settings.types import Duration, Model, Pattern, ServedBy, Text, section

SelectorText = Annotated[Text, AfterValidator(selector_text)]

# What a name alone means in `queries`. {requests}, {errors}, {latency}, {label} and {window} are filled in.
STOCK = {
    "p50": "histogram_quantile(0.50, sum by ({label}, le) (rate({latency}[{window}])))",
    "p95": "histogram_quantile(0.95, sum by ({label}, le) (rate({latency}[{window}])))",
    "p99": "histogram_quantile(0.99, sum by ({label}, le) (rate({latency}[{window}])))",
    "error_rate": "(sum by ({label}) (rate({errors}[{window}])) or 0 * sum by ({label}) (rate({requests}[{window}])))"
    " / sum by ({label}) (rate({requests}[{window}]))",
    "saturation": "sum by ({label}) (rate(process_cpu_seconds_total[{window}]))",
}

# Names of the queries that count requests; "up" says whether a server is scraped at all.
COUNTED = ("requests", "errors", "latency", "up")


class Query(Model):
    """A metric of your own for each server, with a limit that servers of both versions must keep."""

    name: Annotated[Text, Field(pattern=r"^[a-z][a-z0-9_]*$")] = Field(
        description="Its name. p50, p95, p99 (seconds), error_rate and saturation (processors in use) need no query."
    )
    query: Text = Field("", description="PromQL that gives one number for each server, distinguished by `label`.")
    max: float | None = Field(None, allow_inf_nan=False, description="More than this is bad.")
    min: float | None = Field(None, allow_inf_nan=False, description="Less than this is bad.")

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if not self.query and self.name not in STOCK:
            raise ValueError(f"expected a query, or one of {', '.join(STOCK)} as its name")
        return self

    @property
    def text(self) -> str:
        """The query, its own or the stock one."""
        return self.query or STOCK[self.name]


class Application(Model):
    """The application's own page of metrics, in Prometheus' text format."""

    url: Text = Field(
        "http://127.0.0.1:{port}/metrics",
        description="The URL as the host itself reaches it. {port} is the server's port. A page may have 8 MB.",
    )
    timeout: Duration = Field(5.0, gt=0, description="Time limit of one answer.")


class Prometheus(Model):
    """A Prometheus server that scrapes the application."""

    url: Text = Field(
        pattern=r"^https?://[^@\s]+$",
        description="http(s)://HOST[:PORT][/PATH], without a password. An answer may have 8 MB.",
    )
    via: Pattern | None = Field(
        None,
        description="Pattern of a host from which to ask it, if the controller cannot. The first matching host is "
        "used.",
    )
    token: Text | None = Field(None, description="Name of the secret that holds a bearer token.")
    user: Text | None = Field(None, description="User, if the server requires a password.")
    password: Text | None = Field(None, description="Name of the secret that holds that user's password.")
    served_by: ServedBy | None = Field(
        None,
        description="Name or number of another user than prometheus who runs it, where it is on the host `via` itself.",
    )
    ca: Text | None = Field(
        None, description="File with the authority that signed the server's certificate, on the machine that asks."
    )
    timeout: Duration = Field(10.0, gt=0, description="Time limit of one answer.")
    label: Annotated[Text, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")] = Field(
        "instance", description="The label that distinguishes servers."
    )
    instance: Text = Field(
        "{address}:{port}",
        description="The label's value for a server. {server}, {host}, {address} and {port} are replaced.",
    )
    requests: Text = Field("sum by ({label}) ({requests})", description="Query: requests so far, by server.")
    errors: Text = Field("sum by ({label}) ({errors})", description="Query: errors so far, by server.")
    latency: Text = Field("sum by ({label}, le) ({latency})", description="Query: answers so far, by server and `le`.")
    window: Annotated[Text, Field(pattern=r"^\d+[smh]$")] = Field(
        "1m", description="The value of {window} in queries with a rate."
    )
    queries: list[Query] = Field([], description="Metrics of your own.")

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("expected user and password together")
        if self.user is not None and self.token is not None:
            raise ValueError("expected a token, or user and password, not both")
        return self

    @model_validator(mode="after")
    def _queries_differ(self) -> Self:
        names = [query.name for query in self.queries]
        taken = sorted({name for name in names if names.count(name) > 1 or name in COUNTED})
        if taken:
            raise ValueError(f"queries: {', '.join(taken)}: the name is another query's; expected one of its own")
        return self


class MetricsSettings(Model):
    """Where the numbers come from by which a release is judged: requests, errors and latency of each server."""

    source: Literal["balancer", "application", "prometheus"] = Field(
        "balancer", description="The balancer's own counts (nothing to install), the application's page, or Prometheus."
    )
    requests: SelectorText = Field(
        'shop_http_requests_total{route!~"/health/.*|/metrics"}',
        description="The counter of requests, as a Prometheus selector. Not used with source: balancer.",
    )
    errors: SelectorText = Field(
        'shop_http_requests_total{route!~"/health/.*|/metrics",status=~"5.."}',
        description="The counter of failed requests.",
    )
    latency: SelectorText = Field(
        'shop_http_request_duration_seconds_bucket{route!~"/health/.*|/metrics"}',
        description="The buckets of the histogram of latencies.",
    )
    latency_unit: Literal["seconds", "milliseconds"] = Field("seconds", description="The unit of its label `le`.")
    application: Application = section("For source: application.")
    prometheus: Prometheus | None = Field(None, description="For source: prometheus.")

    @model_validator(mode="after")
    def _source_is_there(self) -> Self:
        if self.source == "prometheus" and self.prometheus is None:
            raise ValueError("source: prometheus needs prometheus: {url: …}")
        return self
