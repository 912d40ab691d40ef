"""Messages go to a broker; where none is, they wait in bounds and nobody is held up."""

import dataclasses
import gc
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Literal

import pytest

from tests.agents.small_broker import SmallBroker
from tests.kafka_broker import USERS, KafkaBroker
from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.sink import outbox
from tokenmill_agent.sink.kafka import KafkaSink, compression
from tokenmill_agent.telemetry import Telemetry

# The client leaves the sockets of refused connections to the garbage collector, which warns of each.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what a test's client left while its warnings are still ignored."""
    yield
    gc.collect()


def closed_port() -> str:
    """Return an address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


class Bench:
    """A sink on an address, and its telemetry."""

    def __init__(
        self,
        settings: KafkaSettings | str,
        *,
        max_queue_bytes: int = 100_000,
        when_full: Literal["drop_oldest", "wait"] = "drop_oldest",
    ) -> None:
        self.telemetry = Telemetry()
        self.sink = KafkaSink(
            KafkaSettings(bootstrap_servers=(settings,)) if isinstance(settings, str) else settings,
            telemetry=self.telemetry,
            max_queue_bytes=max_queue_bytes,
            when_full=when_full,
        )

    def send(self, *values: bytes, topic: str = "topic") -> None:
        """Send messages of node n1."""
        for value in values:
            self.sink.send(topic, "n1", value, "live")


def wait_for(found: Callable[[], object]) -> bool:
    """Return whether something came true within a minute."""
    deadline = monotonic() + 60
    while not found():
        if monotonic() > deadline:
            return False
        sleep(0.02)
    return True


def test_a_message_arrives_with_key_and_header(small_broker: SmallBroker) -> None:
    """The key is the node, the header says how it was sent."""
    bench = Bench(small_broker.address)
    bench.send(b"one", b"two")

    assert 0 == bench.sink.close(60)
    assert [(b"n1", b"one", [("delivery", b"live")]), (b"n1", b"two", [("delivery", b"live")])] == small_broker.records(
        "topic", 2
    )
    assert (2, 6, 0) == (
        bench.telemetry.value("messages_delivered_total"),
        bench.telemetry.value("delivered_bytes_total"),
        bench.telemetry.value("queue_messages"),
    )


def test_a_sink_without_a_broker_is_made_and_takes_messages() -> None:
    """Neither making it nor sending waits; it says what is wrong and counts what it could not deliver at its end."""
    bench = Bench(closed_port())
    bench.send(b"one")

    assert 1 == bench.telemetry.value("queue_messages")
    assert wait_for(lambda: bench.sink.problem)
    assert "no broker answers: check [kafka] bootstrap_servers" in (bench.sink.problem or "")
    assert 1 == bench.sink.close(0)
    assert 1 == bench.telemetry.value("messages_dropped_total", reason="unsent_at_end")


def test_memory_is_bounded_while_the_broker_is_away() -> None:
    """A thousand messages of a kilobyte fit in what was allowed; every one that did not is counted."""
    bench = Bench(closed_port(), max_queue_bytes=10_000)
    bench.send(*[b"x" * 1000] * 1000)

    assert bench.telemetry.value("queue_bytes") <= 10_000
    assert 990 == bench.telemetry.value("messages_dropped_total", reason="queue_full")
    assert 10 == bench.sink.close(0)


def test_what_waited_is_delivered_when_the_broker_comes(tmp_path: Path) -> None:
    """Messages from before its start arrive in order."""
    broker = SmallBroker(tmp_path / "broker")
    bench = Bench(broker.address)
    bench.send(b"1", b"2", b"3")

    assert wait_for(lambda: bench.sink.problem)

    broker.start()

    assert bench.sink.wait_until_empty(120)
    assert None is bench.sink.problem
    assert [b"1", b"2", b"3"] == [value for _, value, _ in broker.records("topic", 3)]

    bench.sink.close(10)
    broker.stop()


def test_a_sink_that_waits_says_when_nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """History is not to outrun a broker that is away: after its time it ends with the reason."""
    monkeypatch.setattr(outbox, "WAIT_SECONDS_MAX", 8.0)
    bench = Bench(closed_port(), max_queue_bytes=1, when_full="wait")
    bench.send(b"1")
    with pytest.raises(TokenmillError, match="no broker answers"):
        bench.send(b"2")
    bench.sink.close(0)


def test_a_message_too_large_for_the_broker_is_given_up(small_broker: SmallBroker) -> None:
    """It is counted, and the next one goes on."""
    bench = Bench(small_broker.address, max_queue_bytes=10_000_000)
    bench.send(b"x" * 2_000_000, b"small")

    assert bench.sink.wait_until_empty(60)
    assert 1 == bench.telemetry.value("messages_dropped_total", reason="refused")
    assert [b"small"] == [value for _, value, _ in small_broker.records("topic", 1)]

    bench.sink.close(10)


@pytest.mark.parametrize(
    "settings",
    [
        KafkaSettings(security_protocol="SASL"),
        KafkaSettings(security_protocol="SASL_PLAINTEXT", sasl_mechanism="GUESS"),
        KafkaSettings(security_protocol="SSL", ssl_cafile=Path("/nowhere/ca.pem")),
        KafkaSettings(bootstrap_servers=("kafka",)),
    ],
)
def test_settings_that_cannot_be_right_are_one_line(settings: KafkaSettings) -> None:
    """A protocol, a mechanism or a file that does not exist is wrong usage, seen before anything is sent."""
    with pytest.raises(UsageError, match=r"\[kafka\]"):
        Bench(settings)


def test_the_better_codec_is_taken_where_it_is_installed() -> None:
    """Here zstd is."""
    assert "zstd" == compression()


@pytest.mark.kafka
class TestRealKafka:
    """What only a real Apache Kafka refuses."""

    def test_a_missing_topic_is_named_and_holds_nobody_up(self, kafka_settings: KafkaSettings) -> None:
        """The other topic is delivered; the remedy is the command that creates the topic."""
        bench = Bench(kafka_settings)
        bench.send(b"lost", topic="no-such-topic")

        assert wait_for(lambda: bench.sink.problem)

        bench.send(b"found", topic=kafka_settings.gpu_power_topic)

        assert wait_for(lambda: bench.telemetry.value("messages_delivered_total"))
        assert "no-such-topic: the topic does not exist: create it with `tokenmill topics create`" in (
            bench.sink.problem or ""
        )
        assert 1 == bench.sink.close(0)

    @pytest.mark.parametrize(
        ("user", "word", "remedy"),
        [
            # The broker may hang up before the client has read why.
            ("admin", "wrong", "sasl_username and the password"),
            ("guest", USERS["guest"], "this user may not write"),
        ],
    )
    def test_a_broker_that_refuses_is_named(  # noqa: PLR0917 - a fixture and three parameters
        self, kafka: KafkaBroker, kafka_settings: KafkaSettings, tmp_path: Path, user: str, word: str, remedy: str
    ) -> None:
        """A wrong password, and a user without rights: the message waits and the problem says what to check."""
        (tmp_path / "password").write_text(word)
        bench = Bench(
            dataclasses.replace(
                kafka_settings,
                bootstrap_servers=(kafka.sasl_bootstrap or pytest.skip("this broker has no SASL listener"),),
                security_protocol="SASL_PLAINTEXT",
                sasl_mechanism="PLAIN",
                sasl_username=user,
                sasl_password_file=tmp_path / "password",
            )
        )
        bench.send(b"one", topic=kafka_settings.gpu_power_topic)

        assert wait_for(lambda: bench.sink.problem)
        assert remedy in (bench.sink.problem or "")
        assert 1 == bench.sink.close(0)
