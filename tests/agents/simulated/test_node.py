"""An invented node: the same seed and time give the same counters, in any process."""

import pytest

from tokenmill_agent.simulated.node import SimulatedNode
from tokenmill_agent.simulated.scenario import SCENARIOS

SINCE_US = 1_795_000_000_000_000
HOUR_US = 3_600_000_000


def node(scenario: str = "hopper", *, seed: int = 1, name: str | None = None) -> SimulatedNode:
    """Return a node."""
    return SimulatedNode(SCENARIOS[scenario], since_us=SINCE_US, seed=seed, node=name)


def test_two_processes_invent_the_same_node() -> None:
    """A history and the live agent after it show one node, boot, GPUs and counters."""
    first, second = node(), node()
    at_us = SINCE_US + 5 * HOUR_US + 1234

    assert (first.boot_id, first.gpu_uuids) == (second.boot_id, second.gpu_uuids)
    assert first.energy_millijoules(0, at_us) == second.energy_millijoules(0, at_us)
    assert first.tokens(first.replicas[0], at_us) == second.tokens(second.replicas[0], at_us)


@pytest.mark.parametrize("other", [node(seed=2), node(name="hopper-2"), node("blackwell")])
def test_another_seed_or_name_is_another_node(other: SimulatedNode) -> None:
    """Its GPUs have other names."""
    assert set(node().gpu_uuids).isdisjoint(other.gpu_uuids)


def test_counters_have_counted_before_the_history_begins() -> None:
    """A reader that took the first value for an increase would see it at once."""
    one = node()

    assert one.energy_millijoules(0, SINCE_US) > 10**9
    assert all(min(one.tokens(replica, SINCE_US)) > 10**5 for replica in one.replicas)


def test_counters_only_grow() -> None:
    """Hour by hour, energy of every GPU and tokens of every server."""
    one = node()
    hours = [SINCE_US + hour * HOUR_US for hour in range(26)]
    for gpu in range(8):
        energies = [one.energy_millijoules(gpu, at_us) for at_us in hours]

        assert sorted(set(energies)) == energies
    for replica in one.replicas:
        outputs = [one.tokens(replica, at_us)[1] for at_us in hours]

        assert sorted(set(outputs)) == outputs


def test_every_gpu_is_placed_or_seen_empty() -> None:
    """A GPU without a replica has a row that says so."""
    placements = node().placements(SINCE_US)

    assert ["process"] * 6 + ["empty"] * 2 == [placement.basis for placement in placements]
    assert ["llama-3.3-70b"] * 4 + ["qwen3-32b"] * 2 + [None] * 2 == [row.model_served for row in placements]
    assert {SINCE_US} == {placement.observed_at_us for placement in placements}


def test_a_replica_expects_the_gpus_that_it_has() -> None:
    """Two replicas of one model on the Blackwell node, two GPUs each."""
    servers = [replica.server for replica in node("blackwell").replicas]

    assert [("llama-70b", 2), ("llama-70b", 2)] == [(one.deployment, one.expected_gpu_count) for one in servers]
    assert 2 == len({one.replica for one in servers})


def test_power_is_the_slope_of_energy() -> None:
    """Over a second the counter grows by about the power."""
    one = node()
    at_us = SINCE_US + 7 * HOUR_US
    grown = one.energy_millijoules(0, at_us + 1_000_000) - one.energy_millijoules(0, at_us)

    assert abs(grown - one.power_milliwatts(0, at_us)) < 5000
