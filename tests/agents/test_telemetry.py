"""What the agent says of itself."""

import socket
import urllib.request

import pytest

from tokenmill_agent.errors import TokenmillError
from tokenmill_agent.telemetry import METRICS, PREFIX, Telemetry


def test_counters_and_gauges_show_what_they_were_told() -> None:
    """Labels keep apart; what was never touched is 0."""
    telemetry = Telemetry()
    telemetry.count("gpu_readings_total", state="ok")
    telemetry.count("gpu_readings_total", 2, state="ok")
    telemetry.set("servers_failing", 3)

    assert (3, 0, 3) == (
        telemetry.value("gpu_readings_total", state="ok"),
        telemetry.value("gpu_readings_total", state="lost"),
        telemetry.value("servers_failing"),
    )


def test_a_gauge_may_follow_something() -> None:
    """It reads the value when the page is asked for."""
    waiting: list[int] = []
    telemetry = Telemetry()
    telemetry.follow("queue_messages", lambda: len(waiting))
    waiting.append(1)

    assert 1 == telemetry.value("queue_messages")


def test_the_page_is_served_until_it_is_stopped() -> None:
    """Every name carries the prefix, and the process's own memory is beside them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    telemetry = Telemetry()
    stop = telemetry.serve("127.0.0.1", port)
    telemetry.count("messages_total", kind="gpu-power")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        text = page.read().decode()
    stop()

    assert 'tokenmill_agent_messages_total{kind="gpu-power"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_port_0_serves_nothing() -> None:
    """Stopping it is still right."""
    Telemetry().serve("127.0.0.1", 0)()


def test_a_port_that_is_taken_is_an_error_with_a_remedy() -> None:
    """One line names the setting, the port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TokenmillError, match=rf"telemetry_port: cannot listen on 127.0.0.1:{port}.*0 for none"):
            Telemetry().serve("127.0.0.1", port)


def test_every_metric_has_its_unit_last_and_a_sentence() -> None:
    """Counters end in total, as Prometheus wants it."""
    for metric in METRICS:
        assert metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert PREFIX == "tokenmill_agent_"
