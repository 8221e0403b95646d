"""What /metrics tells. Labels are route templates and words from short lists, never ids."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 40.0)
_PLANNING_BUCKETS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4


# A creation time for every counter would double the text, and Prometheus does not read them in this format.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The counters of one running service; its own registry, so that two services share a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.requests = Counter(
            "pacesetter_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.latency = Histogram(
            "pacesetter_http_request_duration_seconds",
            "Time to the end of the answer; streams are left out.",
            ("route",),
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.streams = Gauge(
            "pacesetter_segment_streams", "Segment streams now open.", registry=self.registry
        )
        self.reports = Counter("pacesetter_reports", "Reports stored.", registry=self.registry)
        self.records = Counter("pacesetter_records", "Records stored.", registry=self.registry)
        self.rows = Counter("pacesetter_rows", "Measurement rows stored.", registry=self.registry)
        self.segments = Counter(
            "pacesetter_segments_delivered",
            "Segments handed to jobs.",
            ("by",),
            registry=self.registry,
        )
        self.planning = Histogram(
            "pacesetter_planning_duration_seconds",
            "Time of one decision of a strategy.",
            ("strategy",),
            buckets=_PLANNING_BUCKETS,
            registry=self.registry,
        )
        self.trials = Counter(
            "pacesetter_trials",
            "What workers did with trials.",
            ("what",),
            registry=self.registry,
        )
        self.uploads = Counter("pacesetter_curves", "Curves uploaded.", registry=self.registry)
        self.fits = Histogram(
            "pacesetter_law_fit_duration_seconds",
            "Time of one fit of a law in the background.",
            ("outcome",),
            buckets=_PLANNING_BUCKETS,
            registry=self.registry,
        )

    def count_request(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count an answer; ``seconds`` is None for a stream."""
        key = (method, route, status)
        if key not in self._children:
            # labels() takes a lock and checks its arguments: worth skipping on the path of every report.
            counter = self.requests.labels(method, route, str(status))
            self._children[key] = (counter, self.latency.labels(route))
        counter, latency = self._children[key]
        counter.inc()
        if seconds is not None:
            latency.observe(seconds)

    def observe_planning(self, strategy: str, seconds: float) -> None:
        """Count one decision of a strategy."""
        self.planning.labels(strategy).observe(seconds)

    def observe_fit(self, outcome: str, seconds: float) -> None:
        """Count one fit of a law: ``fitted`` or ``unfit``."""
        self.fits.labels(outcome).observe(seconds)

    def render(self) -> bytes:
        """Return the Prometheus text of everything."""
        return generate_latest(self.registry)
