"""Tests of tokenmill_pipeline.batch."""

import dataclasses

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire_messages import START_US, gpu_power, raw, token_counters
from tokenmill_agent.wire import Message, encode
from tokenmill_pipeline.batch import Batch, Keys
from tokenmill_pipeline.ingest_settings import Limits
from tokenmill_pipeline.landing_schema import TABLES


def test_an_empty_batch_gives_every_table_with_its_columns() -> None:
    """Every landed table is there, empty, with the types of the landing schema."""
    frames = Batch(Limits()).take()

    assert {name: dict(schema) for name, schema in TABLES.items()} == {
        name: dict(frame.schema) for name, frame in frames.items()
    }


def test_rows_have_the_types_of_the_landing_schema() -> None:
    """What is landed has exactly the columns that build reads."""
    batch = Batch(Limits())
    batch.add(raw(gpu_power()))
    batch.add(raw(token_counters()))
    batch.add(raw(b"nonsense"))
    frames = batch.take()

    assert {name: dict(schema) for name, schema in TABLES.items()} == {
        name: dict(frame.schema) for name, frame in frames.items()
    }


def test_samples_carry_their_message_their_device_and_their_place_in_the_log() -> None:
    """The columns beside the readings come from the right message and the right device."""
    batch = Batch(Limits())
    batch.add(raw(gpu_power("a", gpus=1), offset=7))
    batch.add(raw(gpu_power("b", gpus=2), offset=8))
    samples = batch.take()["gpu_samples"]

    assert [("a", "GPU-a-0", 7), ("b", "GPU-b-0", 8), ("b", "GPU-b-1", 8)] == samples.select(
        "node", "gpu_uuid", "offset"
    ).rows()


def test_token_samples_carry_their_server_and_rank() -> None:
    """A sample finds its series, and through it its server."""
    batch = Batch(Limits())
    batch.add(raw(token_counters("a")))
    batch.add(raw(token_counters("b", 3)))
    samples = batch.take()["token_samples"]

    assert [("a:8000:1", 0, 0), ("b:8000:1", 0, 3000)] == samples.select("server_id", "rank", "input_tokens").rows()


def test_series_keys_name_the_epoch_of_a_counter() -> None:
    """The same GPU in the same epoch has one key; a driver of another version begins another."""
    batch = Batch(Limits())
    for offset, driver in enumerate(("580.1", "580.1", "581.0")):
        batch.add(raw(gpu_power(gpus=1, driver_version=driver), offset=offset))
    keys = batch.take()["gpu_samples"]["series_key"].to_list()

    assert (True, False) == (keys[0] == keys[1], keys[0] == keys[2])


def test_keys_are_the_same_in_every_version() -> None:
    """A key is stored for years, so it is written down here."""
    assert [-404246721035935477, -5366481606867459398] == [Keys().key("n1", 1, None), Keys().key("run")]


def test_a_bad_message_fails_alone_and_is_kept_with_its_place() -> None:
    """The messages around a bad one land; the bad one is told with topic, offset, reason and the start of its bytes."""
    batch = Batch(Limits(rejected_payload_bytes_max=4))
    messages: tuple[Message | bytes, ...] = (gpu_power(gpus=1), b"nonsense", gpu_power(gpus=1))
    for offset, message in enumerate(messages):
        batch.add(raw(message, offset=offset))
    frames = batch.take()

    assert [0, 2] == frames["gpu_samples"]["offset"].to_list()
    assert [("gpu-power", 1, "not_json", b"nons")] == frames["rejected_messages"].select(
        "topic", "offset", "reason", "payload"
    ).rows()


def test_taking_empties_the_batch() -> None:
    """The next slice begins without the rows of the last one."""
    batch = Batch(Limits())
    batch.add(raw(gpu_power()))
    batch.take()

    assert (0, 0, 0) == (batch.message_count, batch.row_count, batch.take()["gpu_samples"].height)


def test_a_message_without_samples_lands_its_head_and_devices() -> None:
    """A node that could read nothing is still seen."""
    batch = Batch(Limits())
    empty = dataclasses.replace(gpu_power(gpus=0), devices=gpu_power().devices)
    batch.add(raw(empty))
    frames = batch.take()

    assert [(0, None)] == frames["messages"].select("sample_rows", "first_sampled_at_us").rows()
    assert 2 == frames["devices"].height


BAD = st.sampled_from([b"", b"{}", b"nonsense", b'{"schema_version":9,"kind":"gpu-power"}'])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 5), BAD), max_size=12))
def test_every_message_lands_or_is_set_aside(stream: list[int | bytes]) -> None:
    """Messages in = heads landed + messages refused, and samples in = samples landed, in any mixture."""
    batch = Batch(Limits())
    for offset, one in enumerate(stream):
        batch.add(raw(one if isinstance(one, bytes) else gpu_power(sequence=offset, gpus=one), offset=offset))
    frames = batch.take()
    good = [one for one in stream if isinstance(one, int)]

    assert (len(good), len(stream) - len(good)) == (frames["messages"].height, frames["rejected_messages"].height)
    assert sum(good) == frames["gpu_samples"].height == frames["messages"]["sample_rows"].sum()


def test_labels_are_kept_as_json_with_sorted_keys() -> None:
    """Two spellings of the same labels are one value."""
    batch = Batch(Limits())
    placements = [dataclasses.replace(gpu_power().placements[0], labels={"team": "b", "owner": 'a"'})]
    batch.add(raw(encode(gpu_power(placements=placements))))

    assert ['{"owner":"a\\"","team":"b"}'] == batch.take()["placements"]["labels"].to_list()


def test_text_of_any_script_passes_unchanged() -> None:
    """Names are data: quotes, line breaks and any script come out as they went in."""
    batch = Batch(Limits())
    name = "n'1\"\n; drop\x00 \u4e2d\U0001f600"
    batch.add(raw(gpu_power(name, at_us=START_US)))

    assert [name] == batch.take()["messages"].select(pl.col("node").unique()).to_series().to_list()
