"""The history of invented nodes is made by the agent's own loop, and says what a pipeline must find."""

import io
import json
from typing import Any

import msgspec
import pytest

from tokenmill_agent.records import GpuPowerMessage, TokenCountersMessage
from tokenmill_agent.simulate import SCENARIOS, HistoryCounts, SimulatedNode, history, truth
from tokenmill_agent.sink import Delivery
from tokenmill_agent.sink.stdout import LineSink

HOUR_US = 3_600_000_000
START_US = 1_795_000_000_000_000 // HOUR_US * HOUR_US


def nodes() -> list[SimulatedNode]:
    """Return both nodes."""
    return [SimulatedNode(scenario, since_us=START_US) for scenario in SCENARIOS.values()]


@pytest.fixture(scope="module")
def told() -> tuple[HistoryCounts, list[bytes]]:
    """Return the counts and the lines of two hours of both nodes."""
    stream = io.BytesIO()
    counts = history(nodes(), START_US, START_US + 2 * HOUR_US, LineSink(stream))
    return counts, stream.getvalue().splitlines()


def of_kind(lines: list[bytes], kind: str) -> list[dict[str, Any]]:
    """Return the messages of a kind."""
    return [message for message in map(json.loads, lines) if message["kind"] == kind]


def test_it_counts_what_it_sent(told: tuple[HistoryCounts, list[bytes]]) -> None:
    """Rows every ten seconds, both ends included."""
    counts, lines = told

    assert (721 * 16, 721 * 4) == (counts.gpu_rows, counts.token_rows)
    assert (len(lines), sum(map(len, lines))) == (counts.messages, counts.bytes)
    assert counts.gpu_rows == sum(len(one["samples"]["device"]) for one in of_kind(lines, "gpu-power"))


def test_every_message_is_of_the_wire(told: tuple[HistoryCounts, list[bytes]]) -> None:
    """It decodes strictly, and says that it is simulated and driven."""
    for line in told[1]:
        message = msgspec.json.decode(
            line, type=GpuPowerMessage if b'"gpu-power"' in line[:60] else TokenCountersMessage
        )

        assert (True, "driven") == (message.simulated, message.clock)


def test_the_counters_grow_by_the_truth(told: tuple[HistoryCounts, list[bytes]]) -> None:
    """Last less first of every counter is what the nodes really did."""
    energy: dict[str, list[int]] = {}
    for message in of_kind(told[1], "gpu-power"):
        samples = message["samples"]
        for device, counted in zip(samples["device"], samples["energy_counter_millijoules"], strict=True):
            energy.setdefault(message["devices"][device]["gpu_uuid"], []).append(counted)
    tokens: dict[str, list[int]] = {}
    for message in of_kind(told[1], "token-counters"):
        samples = message["samples"]
        for series, counted in zip(samples["series"], samples["output_tokens"], strict=True):
            tokens.setdefault(message["node"] + message["servers"][series]["server_id"], []).append(counted)
    known = [one for node in nodes() for one in truth(node, START_US, START_US + 2 * HOUR_US)]

    assert sum(one.energy_millijoules for one in known) == sum(counts[-1] - counts[0] for counts in energy.values())
    assert sum(one.output_tokens for one in known) == sum(counts[-1] - counts[0] for counts in tokens.values())


def test_the_integral_agrees_with_the_counter(told: tuple[HistoryCounts, list[bytes]]) -> None:
    """Both ways of counting energy lie within a tenth of a percent."""
    first, last = (of_kind(told[1], "gpu-power")[index]["samples"] for index in (0, 23))
    counter = last["energy_counter_millijoules"][-8] - first["energy_counter_millijoules"][0]
    integral = last["energy_integrated_millijoules"][-8] - first["energy_integrated_millijoules"][0]

    assert abs(counter - integral) < counter / 1000
    assert 2 * HOUR_US == last["integrated_us"][-8]


def test_a_second_part_goes_on_where_the_first_ended() -> None:
    """Counters and time since boot, under another run."""
    node = nodes()[0]
    parts = []
    for start_us in (START_US, START_US + HOUR_US):
        stream = io.BytesIO()
        history([node], start_us, start_us + HOUR_US, LineSink(stream))
        parts.append(of_kind(stream.getvalue().splitlines(), "gpu-power"))
    end, begin = parts[0][-1]["samples"], parts[1][0]["samples"]

    assert end["energy_counter_millijoules"][-8:] == begin["energy_counter_millijoules"][:8]
    assert end["monotonic_us"][-1] == begin["monotonic_us"][0]
    assert parts[0][0]["boot_id"] == parts[1][0]["boot_id"]
    assert parts[0][0]["run_id"] != parts[1][0]["run_id"]


def test_it_tells_how_far_it_is() -> None:
    """Each node by its name, from a part to all of it."""
    seen: list[tuple[str, float]] = []
    history(
        nodes(),
        START_US,
        START_US + HOUR_US,
        LineSink(io.BytesIO()),
        progress=lambda node, part: seen.append((node, part)),
    )

    assert ["hopper-1", "blackwell-1"] == list(dict.fromkeys(node for node, _ in seen))
    assert [1.0, 1.0] == [max(part for found, part in seen if found == node.name) for node in nodes()]
    assert all(0 <= part <= 1 for _, part in seen)


def test_messages_say_that_they_are_replayed() -> None:
    """A history is not taken for live telemetry when clocks are compared."""
    delivered: set[Delivery] = set()

    class Sink:
        """Remembers how messages are delivered."""

        def send(self, topic: str, key: str, value: bytes, delivery: Delivery) -> None:  # noqa: ARG002 - an interface
            """Remember it."""
            delivered.add(delivery)

        def close(self, timeout_seconds: float) -> int:  # noqa: ARG002 - part of the interface
            """Have delivered everything."""
            return 0

    history(nodes()[:1], START_US, START_US + HOUR_US, Sink())

    assert {"replayed"} == delivered
