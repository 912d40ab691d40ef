"""The invented GPUs look like real ones to whoever reads them."""

from tokenmill_agent.clock import DrivenClock
from tokenmill_agent.gpu.simulated import SimulatedReader
from tokenmill_agent.simulated.node import SimulatedNode
from tokenmill_agent.simulated.scenario import SCENARIOS

SINCE_US = 1_795_000_000_000_000


def hopper() -> tuple[SimulatedReader, DrivenClock]:
    """Return the Hopper node's GPUs and their clock."""
    clock = DrivenClock(SINCE_US)
    return SimulatedReader(SimulatedNode(SCENARIOS["hopper"], since_us=SINCE_US), clock=clock), clock


def test_the_counter_is_the_integral_of_the_power() -> None:
    """Over a minute, read every second, trapezoid and counter agree to a joule."""
    reader, clock = hopper()
    before = reader.read(detail=False)[0]
    first, integral = before, 0
    for _ in range(60):
        clock.advance(1)
        now = reader.read(detail=False)[0]
        integral += ((before.power_milliwatts or 0) + (now.power_milliwatts or 0)) // 2
        before = now
    counted = (before.energy_counter_millijoules or 0) - (first.energy_counter_millijoules or 0)

    assert abs(counted - integral) < 1000


def test_power_stays_between_idle_and_the_limit() -> None:
    """A day of every GPU is plausible, and those without a replica stay idle."""
    reader, clock = hopper()
    limit = reader.devices()[0].power_limit_milliwatts or 0
    for _ in range(24):
        clock.advance(3600)
        readings = reader.read(detail=True)

        assert all(50_000 < (reading.power_milliwatts or 0) < limit for reading in readings)
        assert all((reading.power_milliwatts or 0) < 90_000 for reading in readings[6:])


def test_held_gpus_have_a_process_and_memory_in_use() -> None:
    """Six of eight are held."""
    reader, _ = hopper()
    used = [reading.detail.memory_used_bytes or 0 for reading in reader.read(detail=True) if reading.detail is not None]

    assert [1, 1, 1, 1, 1, 1, 0, 0] == [len(processes or ()) for processes in reader.processes().values()]
    assert [True] * 6 + [False] * 2 == [memory > 10**11 for memory in used]


def test_details_are_there_only_when_asked_for() -> None:
    """As with real GPUs."""
    assert None is hopper()[0].read(detail=False)[0].detail
