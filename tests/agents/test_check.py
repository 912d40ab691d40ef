"""What `check` finds, and what it says to do."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from tests.agents.gpu.readers import ScriptedReader
from tests.agents.sample_messages import placement
from tests.agents.sink.test_sink_kafka import closed_port
from tokenmill_agent.assembly import Parts
from tokenmill_agent.check import Finding, check, page
from tokenmill_agent.clock import DrivenClock, SystemClock
from tokenmill_agent.config import AgentSettings, Config
from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_agent.gpu.devices import GpuProcess
from tokenmill_agent.host.reading import HostReading, SourceName
from tokenmill_agent.records import Identity, Placement
from tokenmill_agent.settings import KafkaSettings

PAGE = """\
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 120
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total 340
"""

# The client leaves the sockets of refused connections to the garbage collector, which warns of each.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect what a test's client left while its warnings are still ignored."""
    yield
    gc.collect()


class Placed:
    """A placer that gives rows that a test made."""

    def __init__(self, *rows: Placement) -> None:
        self._rows = list(rows)

    def place(self, observed_at_us: int, processes: object, servers: object) -> list[Placement]:  # noqa: ARG002
        """Return them."""
        return self._rows


class Metered:
    """A source of the rest of the node's power that gives readings that a test made."""

    name: Final[SourceName] = "hwmon"
    interval_seconds: Final = None

    def __init__(self, *readings: HostReading) -> None:
        self._readings = list(readings)

    def read(self) -> list[HostReading]:
        """Return them."""
        return self._readings


def parts(reader: ScriptedReader | None, *rows: Placement) -> Parts:
    """Return a node with these GPUs and placements and no servers."""
    return Parts(
        node="n1",
        identity=Identity(provider="ExampleCloud"),
        clock=DrivenClock(1),
        reader=reader,
        tokens=None,
        placements=Placed(*rows),
        simulated=False,
    )


def found(made: Parts | TokenmillError, **settings: Any) -> list[Finding]:
    """Return what is found on such a node, without a broker."""

    def make(config: Config) -> list[Parts]:
        if isinstance(made, TokenmillError):
            if config.agent.gpus != "none":
                raise made
            return [parts(None)]
        return [made]

    agent = replace(AgentSettings(sink="stdout"), **settings)
    return check(Config(agent=agent, kafka=KafkaSettings()), make)


def of(findings: list[Finding], what: str) -> Finding:
    """Return the first finding of that name."""
    return next(finding for finding in findings if finding.what == what)


def test_a_gpu_that_gives_everything_is_ok() -> None:
    """With its name, its power and what counts its energy; the reader is closed."""
    reader = ScriptedReader(DrivenClock(1), "GPU-a")
    finding = of(found(parts(reader)), "gpu 0")

    assert "ok" == finding.status
    assert "NVIDIA H200 (GPU-a)" in finding.text
    assert "100 W" in finding.text
    assert reader.closed


def test_a_gpu_without_an_energy_counter_is_a_warning() -> None:
    """Its power can still be integrated."""
    reader = ScriptedReader(DrivenClock(1), "GPU-a")
    reader.energy["GPU-a"], reader.reasons["GPU-a"] = None, ("energy_not_supported",)
    finding = of(found(parts(reader)), "gpu 0")

    assert ("warn", True) == (finding.status, "energy_not_supported" in finding.text)
    assert "never counted as 0" in (finding.remedy or "")


def test_a_gpu_that_gives_nothing_fails() -> None:
    """The reason is in the line."""
    reader = ScriptedReader(DrivenClock(1), "GPU-a")
    reader.energy["GPU-a"] = reader.power["GPU-a"] = None
    reader.reasons["GPU-a"] = ("gpu_lost",)
    finding = of(found(parts(reader)), "gpu 0")

    assert ("fail", True) == (finding.status, finding.text.endswith("gpu_lost"))


def test_a_missing_driver_does_not_hide_the_rest() -> None:
    """What is wrong and what to do are apart, and servers and sink are looked at all the same."""
    findings = found(TokenmillError("no NVIDIA driver found: install the driver"))

    assert Finding(what="gpus", status="fail", text="no NVIDIA driver found", remedy="install the driver") == of(
        findings, "gpus"
    )
    assert {"servers", "sink"} <= {finding.what for finding in findings}


def test_the_clock_is_told_with_its_boot() -> None:
    """Wall time, time since boot and the name of the boot; a driven clock is nobody's to keep in time."""
    clock = DrivenClock(1_774_951_200_000_000, boot_id="b-1")
    finding = of(found(replace(parts(None), clock=clock)), "clock")

    assert ("ok", "2026-03-31T10:00:00Z, up 1.0 h, boot b-1") == (finding.status, finding.text)


@pytest.mark.parametrize(("kept", "status"), [(True, "ok"), (False, "warn"), (None, "ok")])
def test_a_clock_that_nothing_keeps_in_time_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, kept: bool | None, status: str
) -> None:
    """Whether something does is the kernel's to say, which no test can set."""
    monkeypatch.setattr("tokenmill_agent.check.is_synchronised", lambda: kept)
    finding = of(found(replace(parts(None), clock=SystemClock())), "clock")

    assert (status, kept is False) == (finding.status, "chronyd" in (finding.remedy or ""))


def test_settings_that_cannot_be_right_are_wrong_usage() -> None:
    """They are not a finding."""
    with pytest.raises(UsageError, match="twice"):
        found(UsageError("configured twice"))


def test_placements_are_summed_by_who_holds_the_gpus() -> None:
    """A process that nobody knows is a warning that says what to add."""
    unknown = replace(placement(None, gpu_uuid="GPU-c"), basis="unknown_process")
    rows = (placement("r1"), placement("r1", gpu_uuid="GPU-b"), placement(None, gpu_uuid="GPU-d"), unknown)
    findings = [one for one in found(parts(None, *rows)) if one.what == "placement"]

    assert [("ok", "llama/r1: 2 GPUs, by process"), ("ok", "1 GPUs are empty")] == [
        (one.status, one.text) for one in findings[:2]
    ]
    assert ("warn", True) == (findings[2].status, "[[agent.servers]]" in (findings[2].remedy or ""))


def test_processes_that_cannot_be_asked_are_a_warning() -> None:
    """With what the agent lacks."""
    reader = ScriptedReader(DrivenClock(1), "GPU-a", "GPU-b")
    reader.on_gpu = {"GPU-a": None, "GPU-b": [GpuProcess(pid=1, used_memory_bytes=None, mig_uuid=None)]}
    finding = of(found(parts(reader)), "placement")

    assert ("warn", "the processes on 1 GPUs cannot be asked") == (finding.status, finding.text)


def test_a_state_directory_is_tried(tmp_path: Path) -> None:
    """One that can be written is ok and left as it was, one that cannot fails."""
    (tmp_path / "file").write_text("")

    assert "ok" == of(found(parts(None), state_dir=tmp_path / "state"), "state").status
    assert [] == list((tmp_path / "state").iterdir())
    assert "fail" == of(found(parts(None), state_dir=tmp_path / "file" / "state"), "state").status


def test_a_broker_that_does_not_answer_fails_with_a_remedy() -> None:
    """One line names the address and the setting."""
    config = Config(agent=AgentSettings(), kafka=KafkaSettings(bootstrap_servers=(closed_port(),)))
    finding = check(config, lambda _config: [parts(None)])[-1]

    assert ("kafka", "fail") == (finding.what, finding.status)
    assert "check [kafka] bootstrap_servers" in (finding.remedy or "")


@pytest.mark.kafka
def test_topics_are_looked_for(kafka_settings: KafkaSettings) -> None:
    """One that is there has its partitions, one that is missing the command that creates it."""
    settings = replace(kafka_settings, token_counters_topic="no-such-topic")  # noqa: S106 - a topic, not a secret
    findings = check(Config(agent=AgentSettings(), kafka=settings), lambda _config: [parts(None)])

    assert [("kafka", "ok"), ("topic", "ok"), ("topic", "fail")] == [(one.what, one.status) for one in findings[-3:]]
    assert "3 partitions" in findings[-2].text
    assert "tokenmill topics create" in (findings[-1].remedy or "")


class TestPage:
    """A saved metrics page."""

    def test_it_shows_what_would_be_counted(self, tmp_path: Path) -> None:
        """Engine, field and value of every counter."""
        (tmp_path / "page").write_text(PAGE)
        rows = {row.field: row.value for row in page(tmp_path / "page", None)}

        assert (120, 340) == (rows["input_tokens"], rows["output_tokens"])

    def test_a_page_of_something_else_is_one_line(self, tmp_path: Path) -> None:
        """It names the file."""
        (tmp_path / "page").write_text("<html></html>")
        with pytest.raises(TokenmillError, match=r"--page .*page: "):
            page(tmp_path / "page", "text/html")

    def test_a_file_that_is_not_there_is_wrong_usage(self, tmp_path: Path) -> None:
        """The path is in the line."""
        with pytest.raises(UsageError, match=r"--page: cannot read .*: No such file"):
            page(tmp_path / "nothing", None)


def test_meters_of_the_rest_of_the_node_are_shown() -> None:
    """Each with what it gives, or why it gives nothing and what to do."""
    readable = HostReading(scope="cpu", source="hwmon", id="Grace Power Socket 0", power_milliwatts=98_000)
    denied = HostReading(scope="cpu", source="rapl", id="package-0", reason="permission_denied", detail="energy_uj")
    made = replace(parts(None), host=(Metered(readable, denied), Metered()))
    findings = [one for one in found(made, gpus="none") if one.what == "host"]

    assert [
        ("ok", "hwmon: Grace Power Socket 0 (cpu): 98 W"),
        ("warn", "rapl: package-0 (cpu): permission_denied (energy_uj)"),
        ("ok", "hwmon: this node has no such meter"),
    ] == [(one.status, one.text) for one in findings]
    assert str(findings[1].remedy).startswith("run the agent as root")


def test_a_node_whose_rest_is_not_measured_says_so() -> None:
    """It is a warning: figures of GPUs do not need it."""
    findings = [one for one in found(replace(parts(None), host=(Metered(),)), gpus="none") if one.what == "host"]

    assert ["ok", "warn"] == [one.status for one in findings]


def test_a_node_that_reads_nothing_else_is_not_told_of_it() -> None:
    """An invented node, or `sources = []`."""
    assert [] == [one for one in found(parts(None), gpus="none") if one.what == "host"]
