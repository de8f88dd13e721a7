"""Counts and times of the service, for Prometheus."""

from collections.abc import Collection, Iterator

import prometheus_client
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from tfseg.serving.shared import SharedTexts

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
MOST_TEXT = 256 * 1024  # bytes of what a process counts; 50,000 or so
COUNTED = ("counter", "histogram")  # types of what only grows
LEAST = ("tfseg_ready", "process_start_time_seconds")  # whose sum over processes would mean nothing


class Metrics:
    """What /metrics answers.

    What counts images is there twice: `tfseg_pictures_total`, `tfseg_batch_pictures` and `tfseg_queue_pictures` are the
    names that it had first, which dashboards still ask for.
    """

    def __init__(self, workers: int = 1):
        """Begins with nothing counted in any of so many processes, which are forked later."""
        self._shared, self._place, self._before = SharedTexts(workers, MOST_TEXT), 0, b""
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

    def begin(self, place: int) -> None:
        """Takes a place among the processes; what one that is gone has counted there goes on being counted."""
        self._place, self._before = place, self._shared.read(place)

    def publish(self) -> None:
        """Lets the other processes know what is counted here."""
        if self._shared.places > 1:
            self._shared.write(self._place, self._write_own())

    def to_text(self) -> bytes:
        """Writes what all processes have counted, in Prometheus' format; that of the others is a second old at most."""
        if self._shared.places == 1:
            return prometheus_client.generate_latest(self.registry)
        self.publish()
        together = Sum()
        for place in range(self._shared.places):
            together.add(self._shared.read(place))
        return together.to_text()

    def _write_own(self) -> bytes:
        own = Sum()
        own.add(prometheus_client.generate_latest(self.registry))
        own.add(self._before, COUNTED)
        return own.to_text()


class Sum(Collector):
    """A collector of what several texts in Prometheus' format hold together, sample by sample."""

    def __init__(self):
        self._metrics: dict[str, Metric] = {}
        self._samples: dict[str, dict[tuple, Sample]] = {}

    def add(self, text: bytes, types: Collection[str] = ()) -> None:
        """Adds the samples of a text, or only those of metrics of some types."""
        for metric in text_string_to_metric_families(text.decode()):
            if types and metric.type not in types:
                continue
            self._metrics.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            samples = self._samples.setdefault(metric.name, {})
            for sample in metric.samples:
                key = (sample.name, *sample.labels.items())
                values = [sample.value, *([samples[key].value] if key in samples else [])]
                samples[key] = sample._replace(value=min(values) if sample.name in LEAST else sum(values))

    def collect(self) -> Iterator[Metric]:
        """Gives all metrics."""
        for name, metric in self._metrics.items():
            metric.samples = [*self._samples[name].values()]
            yield metric

    def to_text(self) -> bytes:
        """Writes it all in Prometheus' format."""
        registry = prometheus_client.CollectorRegistry()
        registry.register(self)
        return prometheus_client.generate_latest(registry)
