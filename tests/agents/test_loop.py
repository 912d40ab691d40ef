"""The loop on a driven clock: what is read when, what is sent when, and what a failure costs."""

import dataclasses
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.agents.gpu.readers import ScriptedReader
from tests.agents.host.sysfs import hwmon, write
from tests.agents.sample_messages import placement, server, token_samples
from tokenmill_agent.clock import MICROSECONDS, DrivenClock
from tokenmill_agent.config import AgentSettings
from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.gpu.devices import RestartNeededError
from tokenmill_agent.gpu.sampler import GpuSampler
from tokenmill_agent.host.hwmon import HwmonSource
from tokenmill_agent.host.sampler import HostSampler
from tokenmill_agent.looker import Looker, Processes
from tokenmill_agent.loop import Agent, Ticker, count_reading
from tokenmill_agent.messages import Messenger
from tokenmill_agent.records import Identity, Placement, Series, Server
from tokenmill_agent.servers.scrape import TokenLook
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.sink import Delivery
from tokenmill_agent.state import RunState
from tokenmill_agent.telemetry import Telemetry

NOW_US = 1_795_000_000_000_000


class Bench:
    """An agent whose every part a test holds in its hand; it is source, placer and sink itself."""

    def __init__(self, *, gpus: bool = True, sysfs: Path | None = None, **settings: Any) -> None:
        self.clock = DrivenClock(NOW_US, monotonic_us=0, auto_advance=True)
        self.reader = ScriptedReader(self.clock, "GPU-a", "GPU-b")
        self.telemetry = Telemetry()
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.looked_at_us: list[int] = []
        self.placed_at_us: list[int] = []
        self.restarts_at_us = 10**12
        self.failing: Exception | None = None
        self.broken_sink = False
        looker = Looker(clock=self.clock, tokens=self, placements=self, background=False)
        sampler = GpuSampler(self.reader, max_gap_us=3_000_000, seen=count_reading(self.telemetry))
        self.agent = Agent(
            settings=dataclasses.replace(AgentSettings(), **settings),
            kafka=KafkaSettings(),
            clock=self.clock,
            sampler=sampler if gpus else None,
            looker=looker,
            messenger=Messenger(node="n1", identity=Identity(), clock=self.clock, run=RunState(None), simulated=False),
            sink=self,
            telemetry=self.telemetry,
            host=(
                HostSampler([HwmonSource(sysfs)], clock=self.clock, sample_interval_seconds=1.0, background=False)
                if sysfs is not None
                else None
            ),
        )

    def look(self) -> TokenLook:
        """Look at one server."""
        self.looked_at_us.append(self.clock.monotonic_us())
        if self.failing is not None:
            raise self.failing
        server_id = "a" if self.clock.monotonic_us() < self.restarts_at_us else "b"
        return TokenLook(
            servers=[server(server_id)], series=[Series(server=0, rank=0)], samples=token_samples(7), problems={}
        )

    def place(
        self,
        observed_at_us: int,
        processes: Processes | None,  # noqa: ARG002 - part of the interface
        servers: Sequence[Server],  # noqa: ARG002 - the same
    ) -> Sequence[Placement]:
        """Place one GPU."""
        self.placed_at_us.append(observed_at_us - NOW_US)
        return [placement(observed_at_us=observed_at_us)]

    def send(self, topic: str, key: str, value: bytes, delivery: Delivery) -> None:
        """Take a message."""
        if self.broken_sink:
            raise TokenmillError("cannot write messages to standard output: No space left on device")
        assert ("n1", "live") == (key, delivery)
        self.sent.append((topic, json.loads(value)))

    def close(self, timeout_seconds: float) -> int:  # noqa: ARG002 - part of the interface
        """Have delivered everything."""
        return 0

    def run(self, seconds: float) -> None:
        """Let the agent run for so long."""
        self.agent.run(threading.Event(), until_monotonic_us=round(seconds * MICROSECONDS))

    def messages(self, topic: str) -> list[dict[str, Any]]:
        """Return what was sent to a topic."""
        return [message for found, message in self.sent if found == topic]

    def rows_at_seconds(self) -> list[float]:
        """Return when the rows of the first GPU were read."""
        return [
            at_us / MICROSECONDS
            for message in self.messages("tokenmill.gpu-power")
            for device, at_us in zip(message["samples"]["device"], message["samples"]["monotonic_us"], strict=True)
            if device == 0
        ]


class TestTicker:
    """When a job is due."""

    def test_late_work_does_not_shift_the_next_time(self) -> None:
        """Half an interval late is not missed."""
        ticker = Ticker(interval_us=10, next_us=100)

        assert (0, 110) == (ticker.pass_by(105), ticker.next_us)

    def test_whole_intervals_that_passed_are_missed(self) -> None:
        """The next time stays on the same grid."""
        ticker = Ticker(interval_us=10, next_us=100)

        assert (3, 140) == (ticker.pass_by(139), ticker.next_us)


class TestIntervals:
    """Each at its own pace, all beginning at once."""

    def test_power_is_read_every_second_and_rows_every_ten(self) -> None:
        """Details are asked for with a row only."""
        bench = Bench()
        bench.run(30)

        assert [0, 10, 20, 30] == bench.rows_at_seconds()
        assert [second % 10 == 0 for second in range(31)] == bench.reader.reads

    def test_servers_are_looked_at_every_ten_seconds_and_gpus_every_thirty(self) -> None:
        """The first looks are at the start."""
        bench = Bench()
        bench.run(60)

        assert [0, 10, 20, 30, 40, 50, 60] == [at_us / MICROSECONDS for at_us in bench.looked_at_us]
        assert {0, 30, 60} == {at_us / MICROSECONDS for at_us in bench.placed_at_us}

    def test_messages_are_sent_every_ten_seconds_and_at_the_end(self) -> None:
        """A message holds what was read since the last one."""
        bench = Bench()
        bench.run(25)
        counts = [len(message["samples"]["device"]) for message in bench.messages("tokenmill.gpu-power")]

        # Rows of 0 and 10 s, of 20 s, and of 25 s at the end: two GPUs each.
        assert [4, 2, 2] == counts
        assert [1, 2, 3] == [message["sequence"] + 1 for message in bench.messages("tokenmill.gpu-power")]

    def test_all_intervals_are_settings(self) -> None:
        """A message a minute holds six rows of each GPU."""
        bench = Bench(send_interval_seconds=60.0, scrape_interval_seconds=30.0, placement_interval_seconds=60.0)
        bench.run(60)
        (power,) = bench.messages("tokenmill.gpu-power")
        (tokens,) = bench.messages("tokenmill.token-counters")

        assert (14, 3, {0, 60}) == (
            len(power["samples"]["device"]),
            len(tokens["samples"]["series"]),
            {at_us / MICROSECONDS for at_us in bench.placed_at_us},
        )

    def test_the_seconds_before_the_end_are_not_lost(self) -> None:
        """Their integral is known to this run alone, so a last row is made."""
        bench = Bench()
        bench.run(14)

        assert [0, 10, 14] == bench.rows_at_seconds()
        assert 1_400_000 == bench.messages("tokenmill.gpu-power")[-1]["samples"]["energy_integrated_millijoules"][-1]

    def test_a_slow_reading_is_caught_up_without_drift(self) -> None:
        """Ticks that passed meanwhile are counted, the next one is on the grid."""
        bench = Bench()
        bench.reader.before_read = lambda: bench.clock.advance(2.5) if len(bench.reader.reads) == 3 else None
        bench.run(10)

        assert 1 <= bench.telemetry.value("ticks_missed_total", job="sample")
        assert [0, 10] == bench.rows_at_seconds()


class TestHostPower:
    """The rest of the node, in the same messages."""

    def test_rows_are_made_with_those_of_the_gpus(self, tmp_path: Path) -> None:
        """Each in one message only, and the seconds before the end are not lost."""
        bench = Bench(sysfs=write(tmp_path, hwmon(0, "Grace Power Socket 0", "98000000")))
        bench.run(24)
        rows = [message["host_samples"] for message in bench.messages("tokenmill.gpu-power")]

        assert [0, 10_000_000, 10_000_000, 4_000_000] == [us for row in rows for us in row["covered_us"]]
        assert {98_000} == {milliwatts for row in rows for milliwatts in row["power_mean_milliwatts"]}

    def test_a_node_without_gpus_sends_them_alone(self, tmp_path: Path) -> None:
        """A node that only serves draws power too."""
        bench = Bench(gpus=False, sysfs=write(tmp_path, hwmon(0, "Grace Power Socket 0", "98000000")))
        bench.run(10)
        (message,) = bench.messages("tokenmill.gpu-power")

        assert ([], [0, 10_000_000]) == (message["devices"], message["host_samples"]["monotonic_us"])

    def test_one_look_has_them_too(self, tmp_path: Path) -> None:
        """`once` waits for the reading."""
        bench = Bench(sysfs=write(tmp_path, hwmon(0, "Grace Power Socket 0", "98000000")))
        bench.agent.once()

        assert [98_000] == bench.messages("tokenmill.gpu-power")[0]["host_samples"]["power_mean_milliwatts"]


class TestPlacements:
    """What holds the GPUs, in every message."""

    def test_every_message_carries_the_latest(self) -> None:
        """With the moment at which it was seen."""
        bench = Bench()
        bench.run(30)
        seen = [message["placements"][-1]["observed_at_us"] for message in bench.messages("tokenmill.gpu-power")]

        assert [NOW_US, NOW_US, NOW_US + 30 * MICROSECONDS] == seen

    def test_another_process_life_is_looked_at_at_once(self) -> None:
        """A restarted server is placed again without waiting for the interval."""
        bench = Bench()
        bench.restarts_at_us = 20 * MICROSECONDS
        bench.run(40)

        assert [0, 20, 30] == sorted({at_us / MICROSECONDS for at_us in bench.placed_at_us})


class TestParts:
    """Nodes that have not everything."""

    def test_a_node_without_gpus_sends_tokens(self) -> None:
        """And no empty message of GPUs."""
        bench = Bench(gpus=False)
        bench.run(20)

        assert [] == bench.messages("tokenmill.gpu-power")
        assert 3 == sum(len(message["samples"]["series"]) for message in bench.messages("tokenmill.token-counters"))

    def test_once_sends_one_batch_of_each_kind(self) -> None:
        """With placements, although nothing was looked at before."""
        bench = Bench()
        bench.agent.once()

        assert ["tokenmill.gpu-power", "tokenmill.token-counters"] == [topic for topic, _ in bench.sent]
        assert 1 == len(bench.sent[0][1]["placements"])


class TestTrouble:
    """What a failure costs."""

    def test_a_job_that_fails_is_counted_and_the_others_go_on(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is said once and tried again at its next time."""
        bench = Bench()
        bench.failing = ZeroDivisionError("a bug")
        bench.run(30)

        assert [0, 10, 20, 30] == bench.rows_at_seconds()
        assert 4 == bench.telemetry.value("job_errors_total", job="tokens")
        assert 1 == caplog.text.count("the job tokens failed")

    def test_an_agent_that_needs_a_new_process_sends_what_it_has(self) -> None:
        """The error goes on to the supervisor, the rows to the sink."""
        bench = Bench()

        def end_after_25_seconds() -> None:
            if bench.clock.monotonic_us() > 25 * MICROSECONDS:
                raise RestartNeededError("the driver was changed")

        bench.reader.before_read = end_after_25_seconds
        with pytest.raises(RestartNeededError):
            bench.run(60)

        assert [0, 10, 20] == bench.rows_at_seconds()

    def test_a_sink_that_is_gone_ends_the_agent(self) -> None:
        """A full disk is one error, not a loop of them."""
        bench = Bench()
        bench.broken_sink = True
        with pytest.raises(TokenmillError, match="No space left"):
            bench.run(30)

    def test_a_stop_ends_the_loop(self) -> None:
        """One that is set already leaves nothing undone that was never begun."""
        bench = Bench()
        stop = threading.Event()
        stop.set()
        bench.agent.run(stop)

        assert [] == bench.sent


class TestTelemetry:
    """What the agent says of its work."""

    def test_readings_rows_and_messages_are_counted(self) -> None:
        """By state, reason and kind."""
        bench = Bench()
        bench.run(10)
        value = bench.telemetry.value

        assert (22, 2, 2) == (
            value("gpu_readings_total", state="ok"),
            value("gpus", state="ok"),
            value("token_samples_total", reason=""),
        )
        assert (1, 1) == (value("messages_total", kind="gpu-power"), value("messages_total", kind="token-counters"))
        assert bench.clock.now_us() / MICROSECONDS == value("last_sample_timestamp_seconds", kind="gpu-power")
