"""Which NVML fields and calls of a board are read for energy and power, chosen from what a probe answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Scope = Literal["gpu", "module"]

_OF_SCOPE: Final = {0: "", 1: " of the module", 2: " of the memory"}


class Field(NamedTuple):
    """An NVML field and its scope: 0 GPU, 1 module (a superchip's CPU and GPUs), 2 memory."""

    number: int
    scope: int

    def __str__(self) -> str:
        return f"field {self.number}{_OF_SCOPE.get(self.scope, f' of scope {self.scope}')}"


ENERGY: Final = Field(83, 0)
"""Millijoules since the driver was loaded."""
ENERGY_BY_SCOPE: Final = Field(191, 0)
"""The same, of the fields that take a scope."""
ENERGY_MODULE: Final = Field(191, 1)
POWER_AVERAGE: Final = Field(185, 0)
"""Milliwatts, the mean over one second on most boards since Ampere."""
POWER_INSTANT: Final = Field(186, 0)
POWER_AVERAGE_MODULE: Final = Field(185, 1)
POWER_INSTANT_MODULE: Final = Field(186, 1)
POWER_AVERAGE_MEMORY: Final = Field(185, 2)
POWER_LIMIT: Final = Field(190, 0)
"""Milliwatts, the limit that is enforced now, set out of band too."""
POWER_LIMIT_MODULE: Final = Field(190, 1)
POWER_CAPPED: Final = Field(74, 0)
"""Nanoseconds of clocks lowered by the power limit, a counter."""

PROBED: Final = (
    ENERGY,
    ENERGY_BY_SCOPE,
    ENERGY_MODULE,
    POWER_AVERAGE,
    POWER_INSTANT,
    POWER_AVERAGE_MODULE,
    POWER_INSTANT_MODULE,
    POWER_AVERAGE_MEMORY,
    POWER_LIMIT,
    POWER_LIMIT_MODULE,
    POWER_CAPPED,
)

ENERGY_CALL: Final = "nvmlDeviceGetTotalEnergyConsumption"
POWER_CALL: Final = "nvmlDeviceGetPowerUsage"

Source = Field | str
"""A field, or the name of a call."""

SUCCESS: Final = 0
NEVER: Final = frozenset({2, 3, 13, 25})
"""Codes that say that a board or driver will never answer: invalid argument, not supported, function not found,
argument version mismatch. Any other failure may pass, so the field stays wanted."""

_MODULE_NAMES: Final = ("NVIDIA GH200",)
"""Boards whose energy counter covers the whole module although it answers as the GPU's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one field or call answered when it was probed: NVML's code, and the value where that is 0."""

    code: int
    value: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPlan:
    """What is read of a board. None: the board cannot tell. Energy and power are always of the same scope."""

    energy: Source | None
    power: Source | None
    limit: Field | None
    capped: Field | None
    scope: Scope

    def batch(self, *, detail: bool) -> tuple[Field, ...]:
        """Return the fields of one batched call."""
        wanted = (self.energy, self.power, self.limit, self.capped) if detail else (self.energy, self.power)
        return tuple(source for source in wanted if isinstance(source, Field))


def choose(answers: Mapping[Source, Answer], name: str | None) -> FieldPlan:
    """Return what to read of a board of that name; `answers` covers `PROBED` and both calls."""
    scope = _scope(answers, name)
    if scope == "module":
        energy = _first(answers, ENERGY_MODULE, ENERGY, ENERGY_BY_SCOPE, ENERGY_CALL)
        power = _first(answers, POWER_AVERAGE_MODULE, POWER_INSTANT_MODULE)
    else:
        energy = _first(answers, ENERGY, ENERGY_BY_SCOPE, ENERGY_CALL)
        # The one second mean comes first: a mean loses nothing between two readings a second apart.
        power = _first(answers, POWER_AVERAGE, POWER_CALL, POWER_INSTANT)
    limit = POWER_LIMIT_MODULE if scope == "module" else POWER_LIMIT
    return FieldPlan(
        energy=energy,
        power=power,
        limit=limit if _wanted(answers, limit) else None,
        capped=POWER_CAPPED if _wanted(answers, POWER_CAPPED) else None,
        scope=scope,
    )


def _scope(answers: Mapping[Source, Answer], name: str | None) -> Scope:
    """Return whose energy the counter of this board counts."""
    counters = (ENERGY, ENERGY_BY_SCOPE, ENERGY_CALL)
    module = answers[ENERGY_MODULE]
    if not any(_wanted(answers, counter) for counter in counters):
        return "module" if module.code == SUCCESS else "gpu"
    if name is not None and name.startswith(_MODULE_NAMES):
        return "module"
    if module.code == SUCCESS and module.value and module.value in {answers[counter].value for counter in counters}:
        # One counter under both scopes: it is the larger one, since the module holds the GPU.
        return "module"
    if answers[POWER_AVERAGE].code in NEVER and answers[POWER_AVERAGE_MODULE].code == SUCCESS:
        return "module"
    return "gpu"


def _first(answers: Mapping[Source, Answer], *sources: Source) -> Source | None:
    answering = (source for source in sources if answers[source].code == SUCCESS)
    hoped_for = (source for source in sources if _wanted(answers, source))
    return next(answering, None) or next(hoped_for, None)


def _wanted(answers: Mapping[Source, Answer], source: Source) -> bool:
    return answers[source].code not in NEVER
