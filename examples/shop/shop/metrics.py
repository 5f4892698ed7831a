"""Metrics in Prometheus' text format, version 0.0.4."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)  # seconds
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Requests by route, method and status, and how long they took.

    Args:
        version: the release's version, shown as build info.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._started = time.time()
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._orders = 0

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request. Routes and methods must come from a fixed set: each is a time series of its own."""
        with self._lock:
            self._requests[route, method, status] += 1
            self._seconds[route] += seconds
            self._buckets[route, next((edge for edge in BUCKETS if seconds <= edge), float("inf"))] += 1

    def order(self) -> None:
        """Count an order."""
        with self._lock:
            self._orders += 1

    def text(self) -> str:
        """Everything counted so far."""
        with self._lock:
            lines = [
                "# HELP shop_build_info Version that runs.",
                "# TYPE shop_build_info gauge",
                f'shop_build_info{{version="{self._version}"}} 1',
                "# HELP process_start_time_seconds Start of the process, Unix time.",
                "# TYPE process_start_time_seconds gauge",
                f"process_start_time_seconds {self._started:.3f}",
                "# HELP shop_orders_total Orders taken.",
                "# TYPE shop_orders_total counter",
                f"shop_orders_total {self._orders}",
                "# HELP shop_http_requests_total Requests answered.",
                "# TYPE shop_http_requests_total counter",
            ]
            lines += [
                f'shop_http_requests_total{{route="{route}",method="{method}",status="{status}"}} {count}'
                for (route, method, status), count in sorted(self._requests.items())
            ]
            lines += [
                "# HELP shop_http_request_duration_seconds Time until the answer was ready.",
                "# TYPE shop_http_request_duration_seconds histogram",
            ]
            for route in sorted(self._seconds):
                lines += self._histogram(route)
        return "\n".join(lines) + "\n"

    def _histogram(self, route: str) -> list[str]:
        name, total, lines = "shop_http_request_duration_seconds", 0, []
        for edge in (*BUCKETS, float("inf")):
            total += self._buckets[route, edge]
            label = "+Inf" if edge == float("inf") else f"{edge:g}"
            lines.append(f'{name}_bucket{{route="{route}",le="{label}"}} {total}')
        return [
            *lines,
            f'{name}_sum{{route="{route}"}} {self._seconds[route]:.6f}',
            f'{name}_count{{route="{route}"}} {total}',
        ]
