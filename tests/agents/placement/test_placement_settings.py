"""Tests of `[[agent.placements]]`."""

from typing import Any

import pytest

from tokenmill_agent.errors import UsageError
from tokenmill_agent.placement.settings import PlacementSettings


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("gpus", (), ["gpus is empty"]),
        ("gpus", ("0", "first"), ["'first'", '"0-7"']),
        ("share", 0.0, ["share is 0.0"]),
        ("share", 1.5, ["share is 1.5"]),
        ("role", "decod", ['did you mean "decode"?']),
    ],
)
def test_wrong_values_name_key_value_and_remedy(key: str, value: object, words: list[str]) -> None:
    """What cannot be right is refused in one line that names the placement."""
    entry: dict[str, Any] = {"gpus": ("all",), "deployment": "chat", "replica": "r1", key: value}

    with pytest.raises(UsageError) as caught:
        PlacementSettings(**entry)

    assert [] == [word for word in ["[[agent.placements]] chat/r1", *words] if word not in str(caught.value)]
