"""Tests of tokenmill_pipeline.frames."""

from tests.wire_messages import START_US, gpu_power, raw, token_counters
from tokenmill_agent.records import HostSamples
from tokenmill_pipeline.batch import Batch
from tokenmill_pipeline.frames import Columns, Rows
from tokenmill_pipeline.ingest_settings import Limits


def test_rows_become_columns_with_their_owners() -> None:
    """Each row keeps the number of its message."""
    rows = Rows(("name", "size"))
    rows.add(0, [("a", 1)])
    rows.add(2, [("b", 2), ("c", 3)])

    assert ([0, 2, 2], {"name": ("a", "b", "c"), "size": (1, 2, 3)}) == (rows.owners, rows.columns())


def test_no_rows_are_empty_columns() -> None:
    """The columns are there without a row too."""
    assert {"name": (), "size": ()} == Rows(("name", "size")).columns()


def test_columns_are_joined_message_by_message() -> None:
    """Samples of several messages stand behind each other."""
    columns = Columns(("sampled_at_us", "sm_clock_mhz"))
    columns.add(4, gpu_power(gpus=1).samples)
    columns.add(5, gpu_power(gpus=2).samples)

    assert ([4, 5, 5], [1980] * 3) == (columns.owners, columns.columns()["sm_clock_mhz"])


def test_a_message_knows_the_times_and_number_of_its_samples() -> None:
    """First and last are over GPU and host samples together."""
    host = HostSamples(
        scope=["node_input"],
        source=["redfish"],
        id=["psu"],
        sampled_at_us=[START_US + 5],
        monotonic_us=[5],
        energy_millijoules=[None],
        power_mean_milliwatts=[3_000_000],
        covered_us=[10_000_000],
        reason=[None],
    )
    batch = Batch(Limits())
    batch.add(raw(token_counters(at_us=START_US + 1)))
    batch.add(raw(gpu_power(at_us=START_US, host_samples=host)))
    messages = batch.take()["messages"]

    assert [(START_US + 1, START_US + 1, 1), (START_US, START_US + 5, 3)] == messages.select(
        "first_sampled_at_us", "last_sampled_at_us", "sample_rows"
    ).rows()
