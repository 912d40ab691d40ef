"""Readings become rows: one meter a GPU, means between rows, nothing made up."""

from tests.agents.gpu.readers import ScriptedReader
from tokenmill_agent.clock import DrivenClock
from tokenmill_agent.gpu.sampler import GpuSampler
from tokenmill_agent.records import GpuSamples

NOW_US = 1_795_000_000_000_000


class Bench:
    """A sampler on scripted GPUs and a driven clock."""

    def __init__(self, *gpu_uuids: str) -> None:
        self.clock = DrivenClock(NOW_US)
        self.reader = ScriptedReader(self.clock, *gpu_uuids)
        self.seen: list[str] = []
        self.sampler = GpuSampler(
            self.reader, max_gap_us=3_000_000, seen=lambda reading: self.seen.append(reading.gpu_uuid)
        )

    def sample(self, *powers: int | None, gpu: str = "a", row: bool = True) -> None:
        """Read once for each power, a second apart, and make a row of the last."""
        for number, power in enumerate(powers, start=1):
            self.reader.power[gpu] = power
            self.sampler.sample(row=row and number == len(powers))
            self.clock.advance(1)

    def rows(self) -> GpuSamples:
        """Return the rows since the last call, which are of one batch."""
        (batch,) = self.sampler.take()
        return batch.samples


def test_a_row_holds_mean_and_maximum_since_the_last_row() -> None:
    """The mean is the integral's, over the time between the two rows."""
    bench = Bench("a")
    bench.sample(100_000)
    bench.sample(100_000, 300_000)
    rows = bench.rows()

    assert ([100_000, 150_000], [100_000, 300_000]) == (rows.power_mean_milliwatts, rows.power_max_milliwatts)
    assert ([0, 300_000], [0, 2_000_000]) == (rows.energy_integrated_millijoules, rows.integrated_us)


def test_a_missing_power_breaks_the_integral_and_leaves_the_counter() -> None:
    """The row has the driver's counter, no power, and the reason."""
    bench = Bench("a")
    bench.reader.reasons["a"] = ("power_not_supported",)
    bench.reader.energy["a"] = 5
    bench.sample(None)
    rows = bench.rows()

    assert ([5], [None], [None], [None]) == (
        rows.energy_counter_millijoules,
        rows.energy_integrated_millijoules,
        rows.power_mean_milliwatts,
        rows.power_max_milliwatts,
    )
    assert ["power_not_supported"] == rows.reason


def test_several_reasons_stand_in_one_row() -> None:
    """They are joined in order."""
    bench = Bench("a")
    bench.reader.reasons["a"] = ("energy_no_data", "power_no_data")
    bench.sample(None)

    assert ["energy_no_data,power_no_data"] == bench.rows().reason


def test_a_power_far_above_the_limit_is_set_aside() -> None:
    """1.2 times the limit is believed, more is not: it is neither integrated nor the maximum, and the row says so."""
    bench = Bench("a")
    bench.sample(840_000)
    bench.sample(840_001, 700_000)
    rows = bench.rows()

    assert ([840_000, 700_000], [None, "power_absurd"]) == (rows.power_max_milliwatts, rows.reason)
    assert [0, 0] == rows.integrated_us


def test_samples_without_a_row_leave_no_row() -> None:
    """Between rows only the meters move, and details are not asked for."""
    bench = Bench("a")
    bench.sample(100_000, row=False)

    assert [] == bench.sampler.take()
    assert [False] == bench.reader.reads


def test_every_gpu_has_its_own_meter_and_index() -> None:
    """Rows point at the batch's devices."""
    bench = Bench("a", "b")
    bench.reader.power["b"] = 200_000
    bench.sample(100_000)
    (batch,) = bench.sampler.take()

    assert ["a", "b"] == [batch.devices[index].gpu_uuid for index in batch.samples.device]
    assert [100_000, 200_000] == batch.samples.power_mean_milliwatts
    assert ["a", "b"] == bench.seen


def test_rows_of_two_generations_are_two_batches() -> None:
    """A row is never sent under a generation in which it was not read."""
    bench = Bench("a")
    bench.sample(100_000)
    bench.reader.nvml_generation = 1
    bench.sample(100_000)

    assert [(0, 1), (1, 1)] == [(batch.nvml_generation, len(batch.samples.device)) for batch in bench.sampler.take()]


def test_the_integral_goes_on_over_messages() -> None:
    """Taking the rows does not begin the meters anew."""
    bench = Bench("a")
    bench.sample(100_000, 100_000)
    bench.rows()
    bench.sample(100_000)

    assert [200_000] == bench.rows().energy_integrated_millijoules
