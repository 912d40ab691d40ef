"""Tests of tokenmill_pipeline.limits: which values are refused, through the batch that applies them."""

import dataclasses
import json
from typing import Any

import polars as pl
import pytest

from tests.wire_messages import HOUR_US, LIMIT_MILLIWATTS, START_US, gpu_power, raw, token_counters
from tokenmill_agent.records import GpuPowerMessage
from tokenmill_agent.wire import Message, encode
from tokenmill_pipeline.batch import Batch
from tokenmill_pipeline.decode import RawMessage
from tokenmill_pipeline.ingest_settings import Limits
from tokenmill_pipeline.landing import HourRange

DAY_US = 24 * HOUR_US


def landed(
    *raws: RawMessage, limits: Limits | None = None, retired: tuple[HourRange, ...] = ()
) -> dict[str, pl.DataFrame]:
    """Return the frames of a batch of these messages."""
    batch = Batch(limits or Limits())
    for one in raws:
        batch.add(one)
    return batch.take(retired)


def reasons(frames: dict[str, pl.DataFrame]) -> list[tuple[str, str]]:
    """Return reason and detail of everything that was refused or set aside."""
    return frames["rejected_messages"].select("reason", "detail").rows()


def with_sample(**columns: Any) -> GpuPowerMessage:
    """Return a message of two GPUs whose samples differ in some columns."""
    message = gpu_power()
    return dataclasses.replace(message, samples=dataclasses.replace(message.samples, **columns))


@pytest.mark.parametrize(
    ("message", "reason", "detail"),
    [
        (with_sample(energy_counter_millijoules=[1, 2**63]), "value_out_of_range", f"holds {2**63}"),
        (with_sample(energy_counter_millijoules=[1, 10**40]), "value_out_of_range", f"holds {10**39}"),
        (
            with_sample(energy_counter_millijoules=[None, -1]),
            "value_out_of_range",
            "energy_counter_millijoules holds -1",
        ),
        (with_sample(sm_utilization_percent=[2**31, None]), "value_out_of_range", f"holds {2**31}"),
        (with_sample(reason=[None, "x" * 1025]), "string_too_long", "gpu_samples.reason holds 1025 characters"),
        (dataclasses.replace(gpu_power(), node="n" * 1025), "string_too_long", "messages.node"),
        (gpu_power(sequence=-1), "value_out_of_range", "messages.sequence holds -1"),
        (
            gpu_power(placements=[dataclasses.replace(gpu_power().placements[0], share=1.5)]),
            "value_out_of_range",
            "placements.share holds 1.5",
        ),
        (
            gpu_power(placements=[dataclasses.replace(gpu_power().placements[0], labels={"a": "x" * 9000})]),
            "string_too_long",
            "placements.labels",
        ),
        (
            token_counters(samples=dataclasses.replace(token_counters().samples, ttft_seconds_sum=[-0.5])),
            "value_out_of_range",
            "token_samples.ttft_seconds_sum holds -0.5",
        ),
        (
            token_counters(servers=[dataclasses.replace(token_counters().servers[0], tensor_parallel=-8)]),
            "value_out_of_range",
            "servers.tensor_parallel holds -8",
        ),
    ],
)
def test_a_value_that_cannot_be_refuses_its_message_whole(message: Message, reason: str, detail: str) -> None:
    """No table gets a row of the message; its neighbours land, and the detail names the column and the value."""
    frames = landed(raw(gpu_power("a"), 0), raw(message, 1), raw(gpu_power("b"), 2))

    assert [("a",), ("a",), ("b",), ("b",)] == frames["gpu_samples"].select("node").rows()
    assert [0, 2] == frames["messages"]["offset"].to_list()
    assert 0 == frames["token_samples"].height
    ((found, told),) = reasons(frames)
    assert reason == found
    assert detail in told


def test_a_temperature_may_be_below_zero() -> None:
    """A GPU in a cold hall is no fault."""
    assert [] == reasons(landed(raw(with_sample(temperature_celsius=[-5, 60]))))


def test_a_power_above_the_limit_sets_aside_its_sample_alone() -> None:
    """More than 1.2 times the GPU's limit is absurd; the other samples of the message land."""
    absurd = round(LIMIT_MILLIWATTS * 1.2) + 1
    frames = landed(raw(with_sample(power_max_milliwatts=[absurd, None])))

    assert ["GPU-n1-1"] == frames["gpu_samples"]["gpu_uuid"].to_list()
    assert [1] == frames["messages"]["sample_rows"].to_list()
    told = f"GPU-n1-0 reads {absurd} milliwatts, its limit is {LIMIT_MILLIWATTS} (1 rows set aside)"
    assert [("power_above_limit", told)] == reasons(frames)


@pytest.mark.parametrize("changes", [{"power_limit_milliwatts": None}, {"energy_scope": "module"}])
def test_a_power_without_a_limit_to_compare_lands(changes: dict[str, Any]) -> None:
    """No limit is known, or the reading is of a whole module: nothing says that it is absurd."""
    message = with_sample(power_max_milliwatts=[9_000_000, None])
    devices = [dataclasses.replace(one, **changes) for one in gpu_power().devices]
    frames = landed(raw(dataclasses.replace(message, devices=devices)))

    assert ([], 2) == (reasons(frames), frames["gpu_samples"].height)


@pytest.mark.parametrize(
    ("behind_us", "clock", "delivery", "kept"),
    [
        (-9 * 60_000_000, "system", "live", True),
        (-11 * 60_000_000, "system", "live", False),
        (34 * DAY_US, "system", "spooled", True),
        (36 * DAY_US, "system", "spooled", False),
        (36 * DAY_US, "driven", "live", True),
        (36 * DAY_US, "system", "file", True),
        (-11 * 60_000_000, "driven", "live", False),
    ],
)
def test_a_sample_is_bound_to_the_time_of_its_append(behind_us: int, clock: str, delivery: str, *, kept: bool) -> None:
    """35 days before to 10 minutes after; only what replays the past is exempt from the first."""
    message = gpu_power(gpus=1, clock=clock)
    frames = landed(raw(message, appended_at_us=START_US + behind_us, delivery=delivery))

    assert ((1, []) if kept else (0, ["sent_at_out_of_range"])) == (
        frames["gpu_samples"].height,
        [reason for reason, _ in reasons(frames)],
    )


def test_one_sample_from_the_future_is_set_aside_alone() -> None:
    """A clock that jumped in between costs its own sample only."""
    frames = landed(raw(with_sample(sampled_at_us=[START_US, START_US + HOUR_US])))

    assert ["GPU-n1-0"] == frames["gpu_samples"]["gpu_uuid"].to_list()
    assert [("sample_time_out_of_range", "taken 1.00 hours after it was appended (1 rows set aside)")] == reasons(
        frames
    )


def test_samples_of_one_message_that_lie_days_apart_refuse_it() -> None:
    """A message is one batch; one that scatters over many hours would scatter the landing too."""
    frames = landed(raw(with_sample(sampled_at_us=[START_US - 3 * DAY_US, START_US])))

    assert [("span_too_long", "its samples span 72.0 hours")] == reasons(frames)


def test_rows_of_a_deleted_hour_are_set_aside_as_too_late() -> None:
    """An hour whose other samples are gone cannot be measured any more; the rest of the message lands."""
    gone = HourRange(first_us=START_US - HOUR_US, end_us=START_US)
    frames = landed(raw(with_sample(sampled_at_us=[START_US - 1, START_US])), retired=(gone,))

    assert [START_US] == frames["gpu_samples"]["sampled_at_us"].to_list()
    assert [("too_late", "their hours are deleted already (1 rows set aside)")] == reasons(frames)


def test_every_refused_message_is_told_once_per_reason() -> None:
    """Many bad samples of a message make one row, with their number."""
    message = with_sample(power_mean_milliwatts=[9_000_000, 9_000_000])

    assert [("power_above_limit", 2)] == [
        (reason, int(detail.split("(")[1].split()[0])) for reason, detail in reasons(landed(raw(message)))
    ]


def test_a_giant_integer_in_a_message_that_also_lacks_sense_is_told_once() -> None:
    """Several faults of one message make one refusal."""
    wrong = {**json.loads(encode(with_sample(energy_counter_millijoules=[2**70, -1]))), "sequence": -3}

    assert 1 == len(reasons(landed(raw(json.dumps(wrong).encode()))))
