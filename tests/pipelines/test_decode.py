"""Tests of tokenmill_pipeline.decode."""

import dataclasses
import json
from typing import Any

import pytest

from tests.wire_messages import gpu_power, token_counters
from tokenmill_agent.records import GpuSamples, Series
from tokenmill_agent.wire import Message, encode
from tokenmill_pipeline.decode import RefusedError, decode_message
from tokenmill_pipeline.ingest_settings import Limits

LIMITS = Limits()


def refusal(value: bytes | None, limits: Limits = LIMITS) -> tuple[str, str]:
    """Return why a message is refused."""
    with pytest.raises(RefusedError) as caught:
        decode_message(value, limits)
    return caught.value.reason, caught.value.detail


def changed(**fields: Any) -> bytes:
    """Return a gpu-power message with other fields."""
    return json.dumps({**json.loads(encode(gpu_power())), **fields}).encode()


@pytest.mark.parametrize("message", [gpu_power(), token_counters()])
def test_a_message_comes_back_as_it_was_encoded(message: Message) -> None:
    """Decoding what the agent encodes gives the same record."""
    assert message == decode_message(encode(message), LIMITS)


def test_fields_that_a_later_agent_adds_are_passed_over() -> None:
    """An unknown field is no reason to refuse a message of a known version."""
    assert gpu_power() == decode_message(changed(colour="green"), LIMITS)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"schema_version":1,"kind":"\xff"}', "not_json"),
        (b'{"schema_version":1,"kind":"gpu-power","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not_json"),
        (b"[1, 2]", "wrong_shape"),
        (b'{"kind":"gpu-power"}', "wrong_shape"),
        (changed(schema_version=2, devices="any shape"), "unknown_schema_version"),
        (changed(kind="gpu-noise"), "unknown_kind"),
        (changed(kind="token-counters"), "wrong_shape"),
        (changed(node=7), "wrong_shape"),
        (changed(node=""), "wrong_shape"),
        (changed(sent_at_us=1.5), "wrong_shape"),
        (changed(clock="sundial"), "wrong_shape"),
    ],
)
def test_what_cannot_be_decoded_is_refused_with_a_reason(value: bytes | None, reason: str) -> None:
    """Every kind of wrong message has its own stable reason."""
    assert reason == refusal(value)[0]


def test_the_place_of_a_wrong_field_is_named() -> None:
    """The detail of a wrong shape says where in the message it is."""
    assert "$.devices[0].gpu_uuid" in refusal(changed(devices=[{"gpu_uuid": 1}]))[1]


def test_a_message_over_the_byte_limit_is_refused_unread() -> None:
    """The size is judged before anything is parsed."""
    assert "too_large" == refusal(b"x" * 101, Limits(message_bytes_max=100))[0]


def test_columns_of_unequal_length_are_refused() -> None:
    """One entry too few in one column makes rows that nobody can put together."""
    samples = dataclasses.replace(gpu_power().samples, reason=[])

    assert ("unequal_columns", "columns of GpuSamples have [0, 2] entries") == refusal(
        encode(gpu_power(samples=samples))
    )


def test_more_rows_than_the_limit_are_refused() -> None:
    """The limit holds for samples, devices and placements alike."""
    assert "too_many_rows" == refusal(encode(gpu_power(gpus=11)), Limits(message_rows_max=10))[0]


@pytest.mark.parametrize("device", [-1, 2])
def test_a_sample_that_points_beyond_the_devices_is_refused(device: int) -> None:
    """An index is not negative and points at a device that is there."""
    samples = dataclasses.replace(gpu_power().samples, device=[0, device])

    assert "index_out_of_range" == refusal(encode(gpu_power(samples=samples)))[0]


def test_a_series_that_points_beyond_the_servers_is_refused() -> None:
    """A series belongs to a server of the same message."""
    assert "index_out_of_range" == refusal(encode(token_counters(series=[Series(server=1, rank=0)])))[0]


def test_a_message_without_samples_is_no_fault() -> None:
    """A node without readings still says what it is."""
    message = gpu_power(samples=GpuSamples(), gpus=0)

    assert message == decode_message(encode(message), LIMITS)
