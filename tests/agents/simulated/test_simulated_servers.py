"""The invented servers are looked at as real ones are."""

from tokenmill_agent.clock import DrivenClock
from tokenmill_agent.records import TokenSamples
from tokenmill_agent.simulated.node import SimulatedNode
from tokenmill_agent.simulated.scenario import SCENARIOS
from tokenmill_agent.simulated.servers import SimulatedPlacer, SimulatedWatcher, processes_of

SINCE_US = 1_795_000_000_000_000


def watched() -> tuple[SimulatedNode, DrivenClock, SimulatedWatcher]:
    """Return a node, its clock and who looks at its servers."""
    node, clock = SimulatedNode(SCENARIOS["hopper"], since_us=SINCE_US), DrivenClock(SINCE_US)
    return node, clock, SimulatedWatcher(node, clock=clock)


def test_a_look_has_one_row_for_each_server() -> None:
    """All columns are of the same length, and every series belongs to a server."""
    _, _, watcher = watched()
    look = watcher.look()

    assert {2} == {len(getattr(look.samples, name)) for name in TokenSamples.__slots__}
    assert [0, 1] == [series.server for series in look.series] == look.samples.series
    assert {} == look.problems


def test_counters_follow_the_clock() -> None:
    """An hour later there are as many tokens more as the node says."""
    node, clock, watcher = watched()
    before = watcher.look().samples
    clock.advance(3600)
    after = watcher.look().samples
    replica = node.replicas[0]
    expected = node.tokens(replica, clock.now_us())[1] - node.tokens(replica, SINCE_US)[1]

    assert expected == (after.output_tokens[0] or 0) - (before.output_tokens[0] or 0) > 10**6
    assert clock.monotonic_us() == after.monotonic_us[0]


def test_cached_input_is_a_part_of_the_input() -> None:
    """What the server does not count is missing, not 0."""
    samples = watched()[2].look().samples

    assert 0 < (samples.cached_input_tokens[0] or 0) < (samples.input_tokens[0] or 0)
    assert [None, None] == samples.draft_tokens == samples.decode_busy_seconds


def test_placements_come_from_the_node() -> None:
    """Whatever the processes say."""
    node, _, _ = watched()

    assert node.placements(5) == SimulatedPlacer(node).place(5, None, ())


def test_only_held_gpus_have_a_process() -> None:
    """Its id is beyond those of real processes."""
    found = list(processes_of(watched()[0]).values())

    assert [1] * 6 + [0] * 2 == [len(processes) for processes in found]
    assert all(process.pid > 4_000_000 for processes in found for process in processes)
