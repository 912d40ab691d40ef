"""Heads: who sends, in which order, and what held when the rows were read."""

from pathlib import Path

from tests.agents.gpu.readers import device
from tests.agents.sample_messages import placement, server, token_samples
from tokenmill_agent.clock import DrivenClock
from tokenmill_agent.gpu.sampler import GpuBatch
from tokenmill_agent.messages import Messenger, agent_version
from tokenmill_agent.records import SCHEMA_VERSION, HostSamples, Identity, Series
from tokenmill_agent.servers.scrape import TokenLook
from tokenmill_agent.state import RunState

NOW_US = 1_795_000_000_000_000


def messenger(run: RunState, *, simulated: bool = False) -> Messenger:
    """Return what makes messages of node n1 on a driven clock."""
    return Messenger(
        node="n1",
        identity=Identity(provider="ExampleCloud", account="a"),
        clock=DrivenClock(NOW_US, boot_id="boot"),
        run=run,
        simulated=simulated,
    )


def batch(generation: int = 0) -> GpuBatch:
    """Return an empty batch of one GPU."""
    return GpuBatch(driver_version="580.1", nvml_generation=generation, devices=[device("GPU-a")])


def look() -> TokenLook:
    """Return a look at one server."""
    return TokenLook(servers=[server()], series=[Series(server=0, rank=0)], samples=token_samples(7), problems={})


def test_rows_of_the_rest_of_the_node_go_with_those_of_gpus_or_alone() -> None:
    """Alone, the head says of the driver what is known of it."""
    made, host = messenger(RunState(None)), HostSamples(id=["package-0"])
    made.know_gpus(driver_version="580.1", nvml_generation=2, gpu_count_expected=8)
    alone = made.host_power([], host)

    assert host == made.gpu_power(batch(), [], host).host_samples
    assert (host, [], "580.1", 2) == (alone.host_samples, alone.devices, alone.driver_version, alone.nvml_generation)


def test_a_head_says_who_sends() -> None:
    """Node, boot, run, identity, clock and version."""
    run = RunState(None)
    message = messenger(run, simulated=True).gpu_power(batch(), [placement()])

    assert (SCHEMA_VERSION, "gpu-power", "n1", "boot", run.run_id, NOW_US, "driven", True) == (
        message.schema_version,
        message.kind,
        message.node,
        message.boot_id,
        message.run_id,
        message.sent_at_us,
        message.clock,
        message.simulated,
    )
    assert (Identity(provider="ExampleCloud", account="a"), agent_version()) == (
        message.identity,
        message.agent_version,
    )
    assert ([placement()], [device("GPU-a")]) == (message.placements, message.devices)


def test_each_kind_counts_its_own_messages() -> None:
    """A gap in either shows."""
    made = messenger(RunState(None))
    sequences = [made.gpu_power(batch(), []).sequence, made.gpu_power(batch(), []).sequence]

    assert ([0, 1], 0) == (sequences, made.token_counters(look()).sequence)


def test_a_head_names_the_run_before(tmp_path: Path) -> None:
    """With the last number that it gave to this kind."""
    before = RunState(tmp_path)
    messenger(before).gpu_power(batch(), [])
    made = messenger(RunState(tmp_path))
    power, tokens = made.gpu_power(batch(), []), made.token_counters(look())

    assert (before.run_id, 0) == (power.previous_run_id, power.previous_last_sequence)
    assert (before.run_id, None) == (tokens.previous_run_id, tokens.previous_last_sequence)


def test_rows_go_under_the_generation_in_which_they_were_read() -> None:
    """Token messages carry the newest."""
    made = messenger(RunState(None))
    made.know_gpus(driver_version="590.1", nvml_generation=2, gpu_count_expected=8)
    power, tokens = made.gpu_power(batch(generation=1), []), made.token_counters(look())

    assert (("580.1", 1), ("590.1", 2)) == (
        (power.driver_version, power.nvml_generation),
        (tokens.driver_version, tokens.nvml_generation),
    )
    assert (8, 8) == (power.gpu_count_expected, tokens.gpu_count_expected)
