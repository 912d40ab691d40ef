"""An agent is put together from its settings."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tokenmill_agent.assembly import live_clock, make_agent, make_sink, real_parts, simulated_nodes, simulated_parts
from tokenmill_agent.clock import DrivenClock
from tokenmill_agent.config import AgentSettings, Config, SimulateSettings
from tokenmill_agent.errors import TokenmillError, UsageError
from tokenmill_agent.host.settings import HostSettings
from tokenmill_agent.records import Identity
from tokenmill_agent.servers.settings import ServerSettings
from tokenmill_agent.settings import KafkaSettings
from tokenmill_agent.sink.stdout import LineSink
from tokenmill_agent.telemetry import Telemetry


def config(**settings: Any) -> Config:
    """Return settings that differ from the defaults in what is given."""
    return Config(agent=replace(AgentSettings(), **settings), kafka=KafkaSettings())


def simulated(**simulate: Any) -> Config:
    """Return settings of simulated nodes."""
    return config(simulate=replace(SimulateSettings(), **simulate))


class TestRealNode:
    """This node's own parts."""

    def test_a_node_without_gpus_has_no_reader(self) -> None:
        """And without servers nothing that looks at them."""
        parts = real_parts(config(gpus="none", node="n1", identity=Identity(rack="r7")), Telemetry())

        assert (None, None, False) == (parts.reader, parts.tokens, parts.simulated)
        assert ("n1", "r7", "system") == (parts.node, parts.identity.rack, parts.clock.kind)

    def test_the_rest_of_the_node_is_read_as_configured(self) -> None:
        """The kernel's meters unless something else is said; an invented node has none."""
        settings = config(gpus="none", host=HostSettings(sources=("dcmi",)))
        made = simulated_parts(simulated_nodes(simulated(scenarios=("hopper",)))[0], DrivenClock(1))

        assert ["hwmon", "rapl"] == [source.name for source in real_parts(config(gpus="none"), Telemetry()).host]
        assert ["dcmi"] == [source.name for source in real_parts(settings, Telemetry()).host]
        assert () == made.host

    def test_servers_that_cannot_be_right_are_refused(self) -> None:
        """One address twice would count its tokens twice."""
        same = (ServerSettings(url="http://127.0.0.1:1"), ServerSettings(url="http://127.0.0.1:1"))

        assert None is not real_parts(config(gpus="none", servers=same[:1]), Telemetry()).tokens
        with pytest.raises(UsageError, match="would count twice"):
            real_parts(config(gpus="none", servers=same), Telemetry())

    def test_the_sink_is_as_configured(self) -> None:
        """Standard output needs no broker."""
        assert isinstance(make_sink(config(sink="stdout"), Telemetry()), LineSink)

    def test_a_state_directory_holds_the_spool(self, tmp_path: Path) -> None:
        """One folder for each topic; two agents do not share it."""
        kept = replace(config(state_dir=tmp_path), kafka=KafkaSettings(bootstrap_servers=("127.0.0.1:1",)))
        sink = make_sink(kept, Telemetry())
        with pytest.raises(TokenmillError, match="another agent keeps its spool"):
            make_sink(kept, Telemetry())

        assert {"tokenmill.gpu-power", "tokenmill.token-counters"} == {
            path.name for path in (tmp_path / "spool").iterdir()
        }
        assert 0 == sink.close(0)


class TestSimulatedNodes:
    """Invented ones."""

    def test_each_scenario_is_a_node(self) -> None:
        """With the names that they bring."""
        nodes = simulated_nodes(simulated(scenarios=("hopper", "blackwell")))

        assert ["hopper-1", "blackwell-1"] == [node.name for node in nodes]

    def test_the_configured_identity_wins_where_it_says_something(self) -> None:
        """The rest stays the scenario's."""
        settings = replace(simulated(scenarios=("hopper",)).agent, identity=Identity(account="mine"), node="gpu-7")
        (node,) = simulated_nodes(Config(agent=settings, kafka=KafkaSettings()))

        assert ("gpu-7", "mine", "ExampleCloud") == (node.name, node.identity.account, node.identity.provider)

    def test_one_name_for_two_nodes_is_refused(self) -> None:
        """They would count as one."""
        settings = replace(simulated(scenarios=("hopper", "blackwell")).agent, node="gpu-7")
        with pytest.raises(UsageError, match="several are simulated"):
            simulated_nodes(Config(agent=settings, kafka=KafkaSettings()))

    @pytest.mark.parametrize(("since", "message"), [("yesterday", "expected a time"), ("2999-01-01", "in the future")])
    def test_a_start_that_cannot_be_is_refused(self, since: str, message: str) -> None:
        """It names the text and the form."""
        with pytest.raises(UsageError, match=message):
            simulated_nodes(simulated(scenarios=("hopper",), since=since))

    def test_a_time_without_a_zone_is_utc(self) -> None:
        """Wherever the agent runs."""
        starts = [
            simulated_nodes(simulated(scenarios=("hopper",), since=since))[0].since_us
            for since in ("2026-01-02T03:04:05", "2026-01-02T03:04:05Z", "2026-01-02T05:04:05+02:00")
        ]

        assert {1_767_323_045_000_000} == set(starts)

    def test_a_live_node_goes_on_where_its_history_ended(self) -> None:
        """Its boot is its own, and its time since boot is its wall time less the moment of its boot."""
        (node,) = simulated_nodes(simulated(scenarios=("hopper",), since="2026-01-02"))
        clock = live_clock(node)

        assert node.boot_id == clock.boot_id()
        assert abs(clock.now_us() - node.booted_at_us - clock.monotonic_us()) < 1_000_000


class TestAgent:
    """Parts, state and sink together."""

    def test_two_runs_of_a_node_are_a_chain(self, tmp_path: Path) -> None:
        """Each node keeps its runs in a directory of its own below the state directory."""
        (node,) = simulated_nodes(simulated(scenarios=("hopper",)))
        settings = config(state_dir=tmp_path).agent
        lines: list[bytes] = []
        for _ in range(2):
            stream = io.BytesIO()
            make_agent(
                simulated_parts(node, live_clock(node)),
                settings=settings,
                kafka=KafkaSettings(),
                sink=LineSink(stream),
                telemetry=Telemetry(),
            ).once()
            lines.append(stream.getvalue())

        assert b'"previous_run_id":null' in lines[0]
        assert b'"previous_last_sequence":0' in lines[1]
        assert (tmp_path / "hopper-1" / "run.json").exists()
