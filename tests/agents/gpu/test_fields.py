"""Which fields are read of a board, from what it answered when it was probed."""

import pytest

from tokenmill_agent.gpu import fields
from tokenmill_agent.gpu.fields import Answer, Field, Source, choose

CALLS: tuple[Source, ...] = (fields.ENERGY_CALL, fields.POWER_CALL)


def answers(**values: int) -> dict[Source, Answer]:
    """Return a probe in which only the named sources answer; negative numbers are codes."""
    found: dict[Source, Answer] = dict.fromkeys((*fields.PROBED, *CALLS), Answer(code=3))
    for name, value in values.items():
        source = getattr(fields, name)
        found[source] = Answer(code=0, value=value) if value >= 0 else Answer(code=-value)
    return found


def test_a_hopper_board_is_read_by_its_own_fields() -> None:
    """Counter 83 and the one second mean of the GPU come before everything else."""
    plan = choose(
        answers(ENERGY=5, ENERGY_BY_SCOPE=5, ENERGY_CALL=5, POWER_AVERAGE=1, POWER_INSTANT=1, POWER_CALL=1),
        "NVIDIA H200",
    )

    assert (fields.ENERGY, fields.POWER_AVERAGE, "gpu") == (plan.energy, plan.power, plan.scope)


@pytest.mark.parametrize(
    ("answering", "energy", "power"),
    [
        ({"ENERGY_BY_SCOPE": 5, "POWER_CALL": 1}, fields.ENERGY_BY_SCOPE, fields.POWER_CALL),
        ({"ENERGY_CALL": 5, "POWER_INSTANT": 1}, fields.ENERGY_CALL, fields.POWER_INSTANT),
        ({}, None, None),
    ],
)
def test_the_next_best_is_taken_where_the_best_is_missing(
    answering: dict[str, int], energy: Source | None, power: Source | None
) -> None:
    """Down to nothing, which is None and not a guess."""
    plan = choose(answers(**answering), "NVIDIA H200")

    assert (energy, power) == (plan.energy, plan.power)


def test_a_field_that_may_answer_later_is_kept() -> None:
    """No data yet is not the same as not supported."""
    plan = choose(answers(ENERGY=-21, POWER_AVERAGE=-27), "NVIDIA H200")

    assert (fields.ENERGY, fields.POWER_AVERAGE) == (plan.energy, plan.power)


@pytest.mark.parametrize(
    ("answering", "name"),
    [
        ({"ENERGY": 5, "POWER_AVERAGE": 1}, "NVIDIA GH200 480GB"),
        ({"ENERGY_MODULE": 9}, "NVIDIA GB300"),
        ({"ENERGY": 9, "ENERGY_MODULE": 9, "POWER_AVERAGE": 1}, "NVIDIA GB200"),
        ({"ENERGY": 9, "POWER_AVERAGE_MODULE": 2}, "NVIDIA GB200"),
    ],
)
def test_a_counter_of_the_module_is_recognised(answering: dict[str, int], name: str) -> None:
    """By the board's name, by its only scope, by one counter under both scopes, or by power of the module alone."""
    assert "module" == choose(answers(**answering), name).scope


def test_two_counters_are_two_scopes() -> None:
    """Where the module's counter differs, the GPU's own is the GPU's."""
    plan = choose(answers(ENERGY=5, ENERGY_MODULE=9, POWER_AVERAGE=1, POWER_AVERAGE_MODULE=2), "NVIDIA GB300")

    assert ("gpu", fields.ENERGY, fields.POWER_AVERAGE) == (plan.scope, plan.energy, plan.power)


def test_energy_and_power_are_never_of_two_scopes() -> None:
    """A module's energy is not set beside the power of a GPU: there is no power then."""
    plan = choose(answers(ENERGY_MODULE=9, POWER_AVERAGE=1), "NVIDIA GB300")

    assert ("module", fields.ENERGY_MODULE, None) == (plan.scope, plan.energy, plan.power)


def test_the_batch_holds_fields_only() -> None:
    """Calls are made one by one; limit and throttled time are asked for with the details."""
    plan = choose(answers(ENERGY=5, POWER_CALL=1, POWER_LIMIT=7, POWER_CAPPED=0), "NVIDIA H200")

    assert (fields.ENERGY,) == plan.batch(detail=False)
    assert (fields.ENERGY, fields.POWER_LIMIT, fields.POWER_CAPPED) == plan.batch(detail=True)


def test_a_field_is_named_for_a_person() -> None:
    """Scope 0 goes without saying."""
    assert ["field 83", "field 185 of the module", "field 185 of the memory", "field 9 of scope 7"] == [
        str(field) for field in (Field(83, 0), Field(185, 1), Field(185, 2), Field(9, 7))
    ]
