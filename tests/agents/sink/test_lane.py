"""The way of one topic: what fails goes to disk, and follows when the broker is back."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.sink.test_sink_kafka import closed_port, wait_for
from tests.agents.small_broker import SmallBroker
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.sink.kafka import KafkaSink
from tokenmill_agent.sink.spool import Spool
from tokenmill_agent.telemetry import Telemetry

# The client leaves the sockets of refused connections to the garbage collector, which warns of each.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

TOPIC = KafkaSettings().gpu_power_topic


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what a test's client left while its warnings are still ignored."""
    yield
    gc.collect()


def spooling(address: str, directory: Path, telemetry: Telemetry, *, max_bytes: int = 10**6) -> KafkaSink:
    """Return a sink that keeps on disk what does not arrive."""
    return KafkaSink(
        KafkaSettings(bootstrap_servers=(address,)),
        telemetry=telemetry,
        max_queue_bytes=100_000,
        open_spool=lambda topic: Spool(
            directory / topic,
            max_bytes=max_bytes,
            min_free_bytes=0,
            dropped=lambda count: telemetry.count("messages_dropped_total", count, reason="spool_full"),
        ),
    )


def test_what_did_not_arrive_is_sent_by_the_next_run(tmp_path: Path) -> None:
    """In order, and marked as spooled; live messages go beside it."""
    telemetry, later = Telemetry(), Telemetry()
    broker = SmallBroker(tmp_path / "broker")
    sink = spooling(broker.address, tmp_path, telemetry)
    for value in (b"1", b"2", b"3"):
        sink.send(TOPIC, "n1", value, "live")

    assert 0 == sink.close(0)
    assert (3, 3, 0) == (
        sink.spooled,
        telemetry.value("messages_spooled_total"),
        telemetry.value("messages_dropped_total", reason="unsent_at_end"),
    )

    broker.start()
    sink = spooling(broker.address, tmp_path, later)
    sink.send(TOPIC, "n1", b"live", "live")
    found = broker.records(TOPIC, 4)

    assert {(b"live", b"live")} == {(value, headers[0][1]) for _, value, headers in found} - {
        (value, b"spooled") for value in (b"1", b"2", b"3")
    }
    assert [b"1", b"2", b"3"] == [value for _, value, _ in found if value != b"live"]
    assert wait_for(lambda: sink.spooled == 0)
    assert 4 == later.value("messages_delivered_total")

    sink.close(10)
    broker.stop()


def test_what_fails_goes_to_disk_while_the_agent_runs(tmp_path: Path) -> None:
    """A kill then loses nothing of it; the queue in memory is empty again."""
    telemetry = Telemetry()
    sink = spooling(closed_port(), tmp_path, telemetry)
    sink.send(TOPIC, "n1", b"1", "live")

    assert wait_for(lambda: telemetry.value("spool_messages"))
    assert (1, 0) == (telemetry.value("messages_spooled_total"), telemetry.value("queue_messages"))

    sink.close(0)


def test_a_spool_that_is_full_drops_the_oldest_and_counts_it(tmp_path: Path) -> None:
    """What is newer is kept."""
    telemetry = Telemetry()
    sink = spooling(closed_port(), tmp_path, telemetry, max_bytes=120)
    for number in range(10):
        sink.send(TOPIC, "n1", str(number).encode(), "live")
    sink.close(0)
    dropped = telemetry.value("messages_dropped_total", reason="spool_full")

    assert 0 < sink.spooled < 10
    assert 10 == dropped + sink.spooled


def test_a_message_that_no_broker_takes_does_not_go_to_disk(small_broker: SmallBroker, tmp_path: Path) -> None:
    """It would stand before the others for ever."""
    telemetry = Telemetry()
    sink = spooling(small_broker.address, tmp_path, telemetry)
    sink._lane(TOPIC).outbox._max_bytes = 10**8
    sink.send(TOPIC, "n1", b"x" * 2_000_000, "live")

    assert sink.wait_until_empty(60)
    assert (0, 1) == (sink.spooled, telemetry.value("messages_dropped_total", reason="refused"))

    sink.close(10)


def test_a_spooled_message_that_no_broker_takes_makes_way(small_broker: SmallBroker, tmp_path: Path) -> None:
    """It is counted, and the next one follows."""
    telemetry = Telemetry()
    spool = Spool(tmp_path / TOPIC, max_bytes=10**8, min_free_bytes=0, dropped=lambda _count: None)
    for value in (b"x" * 2_000_000, b"small"):
        spool.append(TOPIC, "n1", value)
    spool.close()
    sink = spooling(small_broker.address, tmp_path, telemetry, max_bytes=10**8)

    assert [b"small"] == [value for _, value, _ in small_broker.records(TOPIC, 1)]
    assert wait_for(lambda: sink.spooled == 0)
    assert 1 == telemetry.value("messages_dropped_total", reason="refused")

    sink.close(10)
