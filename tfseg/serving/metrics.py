"""Counts and times of the service, for Prometheus."""

import prometheus_client
from prometheus_client.metrics import MetricWrapperBase

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What /metrics answers.

    What counts images is there twice: `tfseg_pictures_total`, `tfseg_batch_pictures` and `tfseg_queue_pictures` are the
    names that it had first, which dashboards still ask for.
    """

    def __init__(self):
        prometheus_client.disable_created_metrics()
        self.registry = registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=registry)
        self.requests = prometheus_client.Counter(
            "tfseg_requests", "Requests answered", ["route", "status"], registry=registry
        )
        self.seconds = prometheus_client.Histogram(
            "tfseg_request_seconds", "From the headers of a request to its answer", ["route"], registry=registry
        )
        self.images = self._twice(prometheus_client.Counter, "tfseg_{}", "Images that the model classified")
        self.batches = self._twice(
            prometheus_client.Histogram, "tfseg_batch_{}", "Images that the model saw at once", buckets=BATCH_SIZES
        )
        self.queue = self._twice(prometheus_client.Gauge, "tfseg_queue_{}", "Images that wait for the model")
        self.model_seconds = prometheus_client.Histogram(
            "tfseg_model_seconds", "Of the model, per batch", registry=registry
        )
        self.connections = prometheus_client.Gauge("tfseg_connections", "Connections that are open", registry=registry)
        self.cut = prometheus_client.Counter(
            "tfseg_connections_cut", "Connections cut off: slow, or full of others", ["reason"], registry=registry
        )
        self.ready = prometheus_client.Gauge("tfseg_ready", "Whether images are taken", registry=registry)

    def _twice(self, kind: type[MetricWrapperBase], name: str, text: str, **settings) -> list:
        """Makes a metric of images, and the same one under its old name."""
        return [
            kind(name.format("images"), text, registry=self.registry, **settings),
            kind(name.format("pictures"), f"{text}; old name", registry=self.registry, **settings),
        ]

    def on_batch(self, images: int, seconds: float) -> None:
        """Counts a batch."""
        for counter in self.images:
            counter.inc(images)
        for histogram in self.batches:
            histogram.observe(images)
        self.model_seconds.observe(seconds)

    def on_cut(self, reason: str) -> None:
        """Counts a connection that is cut off."""
        self.cut.labels(reason).inc()

    def to_text(self) -> bytes:
        """Writes all of them in Prometheus' format."""
        return prometheus_client.generate_latest(self.registry)
