"""The form in which an engine's counters, facts and questions are written down: data, read by one reader for all.

To add an engine, write an `EngineTable` of these parts and put a page of it beside the tests.
"""

import dataclasses
from collections.abc import Mapping
from typing import Final, Literal

from tokenmill_agent.records import Role, Vantage

IntegerField = Literal[
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "requests",
    "draft_tokens",
    "accepted_tokens",
    "ttft_count",
    "inter_token_count",
    "running",
    "waiting",
]
SecondsField = Literal["ttft_seconds_sum", "inter_token_seconds_sum", "prefill_busy_seconds", "decode_busy_seconds"]
Field = IntegerField | SecondsField

SECONDS_FIELDS: Final = frozenset(
    {"ttft_seconds_sum", "inter_token_seconds_sum", "prefill_busy_seconds", "decode_busy_seconds"}
)
CORE_FIELDS: Final[tuple[Field, ...]] = ("input_tokens", "output_tokens")
"""What a series is there for: a page without them says `series_absent`."""

PROCESS_START: Final = "process_start_time_seconds"

TextFact = Literal["model_served", "model_root", "precision", "speculative"]
SizeFact = Literal["tensor_parallel", "pipeline_parallel", "data_parallel", "expert_parallel", "expected_gpu_count"]
Fact = TextFact | SizeFact | Literal["role"]

SIZE_FACTS: Final = frozenset(
    {"tensor_parallel", "pipeline_parallel", "data_parallel", "expert_parallel", "expected_gpu_count"}
)

_MAX_SIZE: Final = 1_000_000
_MAX_CHARACTERS: Final = 512
_SAYS_NOTHING: Final = frozenset({"", "none", "null", "auto", "unknown", "undefined"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """What a server tells of itself beside its counters; None is what it does not tell.

    The basis of a role or a precision says where it was read: `page`, or `endpoint` for a document that was asked for.
    """

    role: Role | None = None
    role_basis: str | None = None
    model_served: str | None = None
    model_root: str | None = None
    precision: str | None = None
    precision_basis: str | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    data_parallel: int | None = None
    expert_parallel: int | None = None
    expected_gpu_count: int | None = None
    speculative: str | None = None

    def over(self, other: "PageFacts") -> "PageFacts":
        """Return these facts, and those of `other` where there are none."""
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return dataclasses.replace(other, **{name: value for name, value in told.items() if value is not None})


NO_FACTS: Final = PageFacts()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One JSON document that an engine gives, and where in it an answer stands (`data.0.id`).

    The step `only` takes the one element of a list, and nothing of a list that has several. `facts` says where in the
    document a fact stands; a role is what the table's `role_words` make of the word there.
    """

    path: str
    engine_version: str | None = None
    model_served: str | None = None
    model_root: str | None = None
    facts: Mapping[Fact, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngineTable:
    """The counters of one engine in one range of versions.

    `counters` gives, per field, the exact sample names in order of preference: the first that is on the page counts.
    Samples of that name that differ only in other labels than `rank_label` are added, after identical label sets were
    counted once. The table fits a page that has any name of `shown_by` and none of `absent`; the first that fits wins.
    `counts_at` is when the output counter moves: at every step, or when the request is finished.

    What is added is narrowed by data: `keep_labels` gives, per sample name, labels and the only value of each that
    counts. Of samples that differ only in `leader_labels` the one with the lowest numbers counts. A sample whose label
    `fallback[0]` is `fallback[1]` counts only where no other value of that label is on the page.

    `role_labels` are the labels that may tell the role, in order of preference, and `role_words` what their values
    mean. `info` gives, per name of a gauge that stands for its labels, which label tells which fact.
    """

    engine: str
    versions: str
    counters: Mapping[Field, tuple[str, ...]]
    shown_by: tuple[str, ...]
    absent: tuple[str, ...] = ()
    rank_label: str | None
    model_label: str | None
    metrics_path: str = "/metrics"
    vantage: Vantage = "engine"
    input_includes_cached: bool
    counts_at: Literal["step", "finish"]
    keep_labels: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    leader_labels: tuple[str, ...] = ()
    fallback: tuple[str, str] | None = None
    role_labels: tuple[str, ...] = ()
    role_words: Mapping[str, Role] = dataclasses.field(default_factory=dict)
    info: Mapping[str, Mapping[Fact, str]] = dataclasses.field(default_factory=dict)
    questions: tuple[Question, ...] = ()

    def names(self) -> frozenset[str]:
        """Return every sample name that this table needs."""
        counted = (name for names in self.counters.values() for name in names)
        return frozenset({*self.shown_by, *self.absent, *self.info, *counted})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A page that is known and must not be counted, and why: it has any name of `shown_by` and none of `absent`."""

    why: str
    shown_by: tuple[str, ...]
    absent: tuple[str, ...] = ()


def text_fact(value: object) -> str | None:
    """Return a text that tells something, cut to 512 characters, or None (an empty one, `None`, `auto`)."""
    if not isinstance(value, str) or value.strip().lower() in _SAYS_NOTHING:
        return None
    # JSON can hold half a surrogate pair, which no message could be encoded with.
    return value[:_MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")


def size_fact(value: object) -> int | None:
    """Return a size from 1 on that is written as a number or as text, or None where it is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 1 <= value <= _MAX_SIZE else None


def facts_of(told: Mapping[Fact, object], *, role_words: Mapping[str, Role], basis: str) -> PageFacts:
    """Return what `told` says in the form of the wire.

    A word for a role that is neither in `role_words` nor `unknown` tells nothing.
    """
    found: dict[str, object] = {}
    for fact, value in told.items():
        if fact == "role":
            found["role"] = {"unknown": "unknown", **role_words}.get(value.lower()) if isinstance(value, str) else None
        else:
            found[fact] = size_fact(value) if fact in SIZE_FACTS else text_fact(value)
    for fact in ("role", "precision"):
        found[f"{fact}_basis"] = basis if found.get(fact) is not None else None
    return PageFacts(**found)  # type: ignore[arg-type] # each value was made for its field just above
