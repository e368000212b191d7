"""Metrics for Prometheus, reckoned from the database when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from django_jobs.queue import statistics

__all__ = ["CONTENT_TYPE", "render"]

BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)


def render(*, using: str) -> bytes:
    """Return the metrics as text."""
    registry = CollectorRegistry()
    registry.register(_Jobs(using))
    return generate_latest(registry)


class _Jobs(Collector):
    def __init__(self, using: str) -> None:
        self.using = using

    def describe(self) -> Iterable[Metric]:
        """Keep the registry from asking the database before it has to."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield self._unfinished()
        yield self._workers()
        yield self._oldest()
        yield from self._recent()

    def _unfinished(self) -> Metric:
        family = GaugeMetricFamily(
            "django_jobs_unfinished", "Jobs that are not finished.", labels=["queue", "state"]
        )
        for labels, count in statistics.unfinished(using=self.using).items():
            family.add_metric(labels, count)
        return family

    def _workers(self) -> Metric:
        alive = statistics.workers_alive(using=self.using)
        return GaugeMetricFamily("django_jobs_workers", "Workers that are alive.", value=alive)

    def _oldest(self) -> Metric:
        age = statistics.oldest_ready_seconds(using=self.using)
        return GaugeMetricFamily(
            "django_jobs_oldest_ready_seconds",
            "For how long the oldest ready job has been due; 0 where none is ready.",
            value=age or 0.0,
        )

    def _recent(self) -> Iterator[Metric]:
        recent = statistics.recent(using=self.using)
        outcomes = GaugeMetricFamily(
            "django_jobs_recent", "Finished jobs among the newest.", labels=["queue", "status"]
        )
        for labels, count in recent.outcomes.items():
            outcomes.add_metric(labels, count)
        yield outcomes
        yield _histogram("django_jobs_recent_wait_seconds", "From due to started.", recent.waits)
        yield _histogram("django_jobs_recent_run_seconds", "From started to end.", recent.runs)


def _histogram(name: str, text: str, values: dict[str, list[float]]) -> Metric:
    family = GaugeHistogramMetricFamily(name, text, labels=["queue"])
    for queue, seconds in values.items():
        family.add_metric([queue], _buckets(seconds), gsum_value=sum(seconds))
    return family


def _buckets(seconds: Sequence[float]) -> list[tuple[str, float]]:
    counts = [(str(bound), float(sum(s <= bound for s in seconds))) for bound in BUCKETS]
    return [*counts, ("+Inf", float(len(seconds)))]
