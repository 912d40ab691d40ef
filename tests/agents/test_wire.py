"""A message is one line of JSON that the pipeline's decoder reads back as the same message."""

import dataclasses
import json

import msgspec
import pytest

from tests.agents.sample_messages import gpu_message, token_message
from tokenmill_agent.records import GpuPowerMessage, TokenCountersMessage
from tokenmill_agent.wire import Message, encode


@pytest.mark.parametrize("message", [gpu_message(), token_message()])
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    """Decoded into the same classes it is equal, field by field."""
    assert message == msgspec.json.decode(encode(message), type=type(message))


def test_a_message_is_one_line() -> None:
    """A line break in a name does not break the line."""
    message = dataclasses.replace(gpu_message(), node="n\n1")

    assert b"\n" not in encode(message)
    assert "n\n1" == json.loads(encode(message))["node"]


def test_columns_are_lists_of_plain_values() -> None:
    """No row is an object: the names of the columns are sent once."""
    samples = json.loads(encode(gpu_message()))["samples"]

    assert [5] == samples["energy_counter_millijoules"]
    assert [None] == samples["reason"]


def test_a_name_that_is_no_text_does_not_stop_a_message() -> None:
    """Bytes that came from the system as surrogates are replaced."""
    message = dataclasses.replace(token_message(), node="n\udcff")

    assert "n?" == msgspec.json.decode(encode(message), type=TokenCountersMessage).node


def test_a_number_that_json_cannot_say_is_refused() -> None:
    """Not a number never becomes a token that some readers take for null."""
    message = token_message()
    message.samples.ttft_seconds_sum[0] = float("nan")
    with pytest.raises(ValueError, match="JSON compliant"):
        encode(message)


def test_an_unknown_field_is_not_written() -> None:
    """What is written is exactly what the record names."""
    assert [field.name for field in dataclasses.fields(GpuPowerMessage)] == list(json.loads(encode(gpu_message())))
