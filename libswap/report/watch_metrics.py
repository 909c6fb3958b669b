"""Figures of a watcher for Prometheus: a text file for node_exporter, or HTTP on loopback."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from libswap.errors.base import MissingTool, SystemRefused
from libswap.operations.deployments import Happening, Outcome

_NAMESPACE: Final = "libswap_watch"


class WatchMetrics:
    """Counts what happens; an outcome that did not occur yet is a zero, not absent."""

    def __init__(self, textfile: str, port: int) -> None:
        """Open the port, where there is one.

        Raises:
            MissingTool: prometheus-client is not installed.
            SystemRefused: the port is taken.
        """
        try:
            import prometheus_client as prometheus  # noqa: PLC0415  an extra
        except ImportError:
            raise MissingTool(
                "the Python package prometheus-client", "write metrics",
                "pip install 'libswap[watch]'",
            ) from None  # fmt: skip
        self._prometheus, self._textfile = prometheus, textfile
        self._registry = prometheus.CollectorRegistry()
        counter = partial(prometheus.Counter, registry=self._registry, namespace=_NAMESPACE)
        gauge = partial(prometheus.Gauge, registry=self._registry, namespace=_NAMESPACE)
        self._ended = counter("deployments", "Deployments that came to an end.", ["outcome"])
        self._last = gauge("last_deployment_timestamp_seconds", "When one did.", ["outcome"])
        self._waiting = gauge("waiting_files", "Files in a drop directory.", ["directory"])
        self._stopped = gauge("stopped", "Whether failures have stopped it.", ["directory"])
        self._beat = gauge("alive_timestamp_seconds", "When the watcher last worked.")
        for outcome in Outcome:
            self._ended.labels(outcome.value)
        if port:
            self._listen(port)

    def _listen(self, port: int) -> None:
        try:
            self._prometheus.start_http_server(port, "127.0.0.1", self._registry)
        except OSError as error:
            raise SystemRefused(
                "listen on", f"127.0.0.1:{port}", error.strerror or str(error)
            ) from None

    def tell(self, happening: Happening) -> None:
        """Count what has ended."""
        if happening.kind in {outcome.value for outcome in Outcome}:
            self._ended.labels(happening.kind).inc()
            self._last.labels(happening.kind).set(happening.time)

    def write(self, waiting: Mapping[str, Sequence[str]], stopped: Sequence[str]) -> None:
        """Bring the gauges up to date, and write the text file: beside it, then renamed.

        Raises:
            SystemRefused: it cannot be written.
        """
        self._waiting.clear()
        self._stopped.clear()
        for directory, names in waiting.items():
            self._waiting.labels(directory).set(len(names))
            self._stopped.labels(directory).set(directory in stopped)
        self._beat.set_to_current_time()
        if self._textfile:
            try:
                self._prometheus.write_to_textfile(self._textfile, self._registry)
            except OSError as error:
                reason = error.strerror or str(error)
                raise SystemRefused("write", self._textfile, reason) from None
