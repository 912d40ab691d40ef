"""The agent's day: samples, rows, looks and messages, each at its own drift-free interval on one clock."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tokenmill_agent.clock import MICROSECONDS, Clock
from tokenmill_agent.config import AgentSettings
from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.gpu.devices import GpuReading
from tokenmill_agent.gpu.sampler import GpuSampler
from tokenmill_agent.host.sampler import HostSampler
from tokenmill_agent.looker import Looker
from tokenmill_agent.messages import Messenger
from tokenmill_agent.records import HostSamples
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.sink import Delivery, Sink
from tokenmill_agent.telemetry import Telemetry
from tokenmill_agent.wire import Message, encode

_LOOK_SECONDS_MAX: Final = 60.0
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Ticker:
    """When one job is due: its first time, and then every interval from there, however late it runs."""

    interval_us: int
    next_us: int

    def pass_by(self, now_us: int) -> int:
        """Put the next time after `now_us`; return how many times were missed."""
        missed = max(0, now_us - self.next_us) // self.interval_us
        self.next_us += (missed + 1) * self.interval_us
        return missed


class Agent:
    """One node's agent. `run` is the loop; everything that it needs is handed in."""

    def __init__(
        self,
        *,
        settings: AgentSettings,
        kafka: KafkaSettings,
        clock: Clock,
        sampler: GpuSampler | None,
        looker: Looker,
        messenger: Messenger,
        sink: Sink,
        telemetry: Telemetry,
        delivery: Delivery = "live",
        host: HostSampler | None = None,
    ) -> None:
        """Put the parts together; nothing runs yet. Without a sampler the node has no GPUs that are read."""
        self._host = host
        self._settings = settings
        self._kafka = kafka
        self._clock = clock
        self._sampler = sampler
        self._looker = looker
        self._messenger = messenger
        self._sink = sink
        self._telemetry = telemetry
        self._delivery = delivery
        self._gpus_seen = 0
        self._errors: dict[str, str] = {}
        self._row_is_due = False
        self._samples_since_row = 0
        # In this order where several are due at once: what was collected is sent last.
        self._jobs: dict[str, Callable[[], None]] = {
            "row": self._want_row,
            "host": self._sample_host,
            "sample": self._sample,
            "tokens": self._look_at_tokens,
            "placements": self._look_at_placements,
            "send": self.send,
        }

    def run(self, stop: threading.Event, *, until_monotonic_us: int | None = None) -> None:
        """Work until `stop` is set or the clock reaches `until_monotonic_us`, then send what is left.

        Raises:
            TokenmillError: the agent cannot go on: a new process is needed, or its output is gone.
        """
        tickers = self._tickers(self._clock.monotonic_us())
        try:
            while not stop.is_set():
                due_us = min(ticker.next_us for ticker in tickers.values())
                if until_monotonic_us is not None and due_us > until_monotonic_us:
                    break
                self._clock.sleep_until(due_us, stop)
                if not stop.is_set():
                    self._tick(tickers)
            self._take_last_row()
        finally:
            self._looker.close()
            self._run_job("send")
            if self._host is not None:
                self._host.close()

    def once(self) -> None:
        """Read and look at everything once, and send it; may be called again."""
        if self._host is not None:
            self._host.sample(row=False)
            self._host.wait(_LOOK_SECONDS_MAX)
        self._row_is_due = True
        self._sample_host()
        self._sample()
        self._looker.look_at_tokens()
        self._looker.wait(_LOOK_SECONDS_MAX)
        self._look_at_placements()
        self._looker.wait(_LOOK_SECONDS_MAX)
        self._looker.raise_if_failed()
        self.send()

    def send(self) -> None:
        """Make messages of all that was collected since the last time, and hand them to the sink."""
        placements = self._looker.take_placements()
        host = self._host.take() if self._host is not None else HostSamples()
        for batch in self._sampler.take() if self._sampler is not None else []:
            message = self._messenger.gpu_power(batch, placements, host)
            self._hand_over(self._kafka.gpu_power_topic, message)
            host = HostSamples()
        if host.id:
            self._hand_over(self._kafka.gpu_power_topic, self._messenger.host_power(placements, host))
        look = self._looker.take_looks()
        if look is None:
            return
        self._telemetry.set("servers_failing", len(look.problems))
        for reason in look.samples.reason:
            self._telemetry.count("token_samples_total", reason=reason or "")
        if look.samples.series:
            self._telemetry.set(
                "last_sample_timestamp_seconds", look.samples.sampled_at_us[-1] / MICROSECONDS, kind="token-counters"
            )
            self._hand_over(self._kafka.token_counters_topic, self._messenger.token_counters(look))

    def _tickers(self, start_us: int) -> dict[str, Ticker]:
        settings = self._settings
        seconds = {
            "row": settings.row_interval_seconds,
            "host": settings.sample_interval_seconds,
            "sample": settings.sample_interval_seconds,
            "tokens": settings.scrape_interval_seconds,
            "placements": settings.placement_interval_seconds,
            "send": settings.send_interval_seconds,
        }
        tickers = {
            job: Ticker(interval_us=round(interval * MICROSECONDS), next_us=start_us)
            for job, interval in seconds.items()
        }
        # Everything is read at once at the start; there is something to send only an interval later.
        tickers["send"].next_us += tickers["send"].interval_us
        return tickers

    def _tick(self, tickers: dict[str, Ticker]) -> None:
        now_us = self._clock.monotonic_us()
        due = [job for job in self._jobs if tickers[job].next_us <= now_us]
        for job in due:
            self._run_job(job)
            if missed := tickers[job].pass_by(now_us):
                self._telemetry.count("ticks_missed_total", missed, job=job)
        if self._looker.servers_changed() and "placements" not in due:
            self._run_job("placements")

    def _run_job(self, job: str) -> None:
        try:
            self._jobs[job]()
        except TokenmillError:
            raise
        except Exception as error:  # noqa: BLE001 - the top of the loop: one job that fails must not end the others
            self._telemetry.count("job_errors_total", job=job)
            text = f"{type(error).__name__}: {error}"
            if self._errors.get(job) != text:
                self._errors[job] = text
                _log.exception("the job %s failed; it is tried again at its next time", job)

    def _want_row(self) -> None:
        self._row_is_due = True

    def _sample_host(self) -> None:
        if self._host is not None:
            self._host.sample(row=self._row_is_due)

    def _sample(self) -> None:
        if self._sampler is None:
            self._row_is_due = False
            return
        self._sampler.sample(row=self._row_is_due)
        self._samples_since_row += 1
        reader = self._sampler.reader
        if self._row_is_due:
            self._row_is_due = False
            self._samples_since_row = 0
            self._gpus_seen = max(self._gpus_seen, reader.gpu_count)
            self._messenger.know_gpus(
                driver_version=reader.driver_version,
                nvml_generation=reader.nvml_generation,
                gpu_count_expected=self._settings.gpu_count_expected or self._gpus_seen,
            )
            self._show_gpus()

    def _show_gpus(self) -> None:
        if self._sampler is None:
            return
        states = [device.state for device in self._sampler.reader.devices()]
        for state in ("ok", "lost", "hung"):
            self._telemetry.set("gpus", states.count(state), state=state)
        self._telemetry.set("last_sample_timestamp_seconds", self._clock.now_us() / MICROSECONDS, kind="gpu-power")

    def _look_at_tokens(self) -> None:
        self._looker.raise_if_failed()
        if not self._looker.look_at_tokens():
            self._telemetry.count("ticks_missed_total", job="tokens")

    def _look_at_placements(self) -> None:
        processes = self._sampler.reader.processes() if self._sampler is not None else None
        if not self._looker.look_at_placements(processes):
            self._telemetry.count("ticks_missed_total", job="placements")

    def _take_last_row(self) -> None:
        """Make a row of the seconds since the last one: no other run can know their integral."""
        self._row_is_due = True
        self._run_job("host")
        if self._samples_since_row:
            self._run_job("sample")

    def _hand_over(self, topic: str, message: Message) -> None:
        self._telemetry.count("messages_total", kind=message.kind)
        self._sink.send(topic, self._messenger.node, encode(message), self._delivery)


def count_reading(telemetry: Telemetry) -> Callable[[GpuReading], None]:
    """Return what counts readings by state."""
    return lambda reading: telemetry.count("gpu_readings_total", state=reading.state)
