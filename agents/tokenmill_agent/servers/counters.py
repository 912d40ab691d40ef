"""Turns a metrics page into cumulative counters per data-parallel rank, by the table of the engine that wrote it."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tokenmill_agent.servers.engine_table import NO_FACTS, Fact, PageFacts, facts_of
from tokenmill_agent.servers.engines import (
    CORE_FIELDS,
    PROCESS_START,
    REFUSALS,
    SECONDS_FIELDS,
    TABLES,
    EngineTable,
    Field,
)
from tokenmill_agent.servers.engines import wanted_names as names_of_all_tables
from tokenmill_agent.servers.exposition import (
    MAX_INTEGER,
    Labels,
    PageError,
    exact_integer,
    exact_microseconds,
    exact_seconds,
    wanted_samples,
)
from tokenmill_agent.servers.series import Samples, counting, once, ranks_of
from tokenmill_agent.servers.tables_sglang import SCHEDULER_SERIES

WANTED: Final = names_of_all_tables()

MAX_RANKS: Final = 4096
"""No deployment has as many data-parallel ranks behind one page."""

TEXT_TYPES: Final = ("text/plain", "application/openmetrics-text")

NO_MODELS: Final = frozenset({"", "unknown_model", "undefined"})
"""What stands where a model's name should: Dynamo's word for what it refused, and that of an old trtllm-serve."""

SERIES_ABSENT: Final = "series_absent"
INVALID_VALUE: Final = "invalid_value"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One counter of one rank; `value` is None where the page's value is no count (NaN, negative, a fraction)."""

    metric: str
    value: int | float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PageCounts:
    """What one page counts.

    `ranks` holds the fields that are on the page, per rank, in order of rank; a field that is not in it is absent.
    `process_started_at_us` is the page's own word, None where it says nothing. `model` is the label of the tokens,
    None where they have none, or several. `facts` is what else the page tells of the server.
    """

    table: EngineTable
    ranks: Mapping[int, Mapping[Field, Counted]]
    process_started_at_us: int | None
    model: str | None
    facts: PageFacts = NO_FACTS


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PageRow:
    """One line of an explanation: which sample of the page became which field, and its value."""

    engine: str
    rank: int
    field: str
    metric: str
    value: int | float | None


def count_page(
    text: str, *, content_type: str | None = None, engine: str | None = None, table: EngineTable | None = None
) -> PageCounts:
    """Count a page by `table`, else by the first table of `engine` that fits it, else by the first that fits.

    Raises:
        PageError: no metrics page, no counters of a known engine, or a line to count that cannot be read.
    """
    media_type = (content_type or TEXT_TYPES[0]).partition(";")[0].strip().lower()
    if media_type not in TEXT_TYPES:
        raise PageError(f"the page is {media_type[:60]!r}, not text/plain: no metrics page")
    samples = once(wanted_samples(text, WANTED))
    chosen = table or _fitting(samples, engine)
    return PageCounts(
        table=chosen,
        ranks=_ranks(counting(samples, chosen), chosen),
        process_started_at_us=_process_start(samples),
        model=_model(samples, chosen),
        facts=_facts(samples, chosen),
    )


def explain_page(text: str, content_type: str | None = None) -> list[PageRow]:
    """Return what would be counted on a saved page, one row per rank and field.

    Raises:
        PageError: no metrics page, no counters of a known engine, or a line to count that cannot be read.
    """
    counts = count_page(text, content_type=content_type)
    return [
        PageRow(engine=counts.table.engine, rank=rank, field=field, metric=counted.metric, value=counted.value)
        for rank, fields in counts.ranks.items()
        for field, counted in fields.items()
    ]


def reason_of(fields: Mapping[Field, Counted]) -> str | None:
    """Return why a rank's row lacks what it is there for: `invalid_value`, `series_absent` or nothing."""
    if any(counted.value is None for counted in fields.values()):
        return INVALID_VALUE
    return SERIES_ABSENT if any(field not in fields for field in CORE_FIELDS) else None


def _fitting(samples: Samples, engine: str | None) -> EngineTable:
    for refusal in REFUSALS:
        if _shows(samples, refusal.shown_by, refusal.absent):
            raise PageError(refusal.why)
    if _is_follower(samples):
        raise PageError("a follower node of SGLang, whose tokens node 0 counts")
    for table in TABLES:
        if engine is not None and table.engine != engine:
            continue
        if _shows(samples, table.shown_by, table.absent):
            return table
    # Taken for a page that lacks its counters, a wrong page would make the right one count from 0 later.
    raise PageError(f"the page has no counters of {engine or 'a known engine'}")


def _shows(samples: Samples, shown_by: Sequence[str], absent: Sequence[str]) -> bool:
    return any(name in samples for name in shown_by) and not any(name in samples for name in absent)


def _is_follower(samples: Samples) -> bool:
    """Say whether only schedulers of other ranks than the first show: the page of a node that serves no requests."""
    if "sglang:prompt_tokens_total" in samples or "sglang:generation_tokens_total" in samples:
        return False
    ranks = [ranks_of(labels, ("pp_rank", "tp_rank")) for name in SCHEDULER_SERIES for labels in samples.get(name, {})]
    return bool(ranks) and (0, 0) not in ranks


def _ranks(samples: Samples, table: EngineTable) -> dict[int, dict[Field, Counted]]:
    ranks: dict[int, dict[Field, Counted]] = {}
    for field, names in table.counters.items():
        name = next((name for name in names if name in samples), None)
        if name is None:
            continue
        for rank, values in _by_rank(samples[name], name, table.rank_label).items():
            ranks.setdefault(rank, {})[field] = Counted(metric=name, value=_sum(field, values))
    if len(ranks) > MAX_RANKS:
        raise PageError(f"more than {MAX_RANKS} ranks")
    return dict(sorted(ranks.items()))


def _by_rank(values: Mapping[Labels, str], name: str, rank_label: str | None) -> dict[int, list[str]]:
    ranks: dict[int, list[str]] = {}
    for labels, value in values.items():
        label = dict(labels).get(rank_label, "0") if rank_label is not None else "0"
        if not (label.isascii() and label.isdigit() and len(label) <= 9):
            raise PageError(f"{name} has {rank_label}={label[:20]!r}, which is no rank")
        ranks.setdefault(int(label), []).append(value)
    return ranks


def _sum(field: Field, values: Sequence[str]) -> int | float | None:
    if field in SECONDS_FIELDS:
        seconds = [exact_seconds(value) for value in values]
        return None if None in seconds else sum(value for value in seconds if value is not None)
    counts = [exact_integer(value) for value in values]
    total = sum(count for count in counts if count is not None)
    return None if None in counts or total > MAX_INTEGER else total


def _process_start(samples: Samples) -> int | None:
    starts = {exact_microseconds(value) for value in samples.get(PROCESS_START, {}).values()}
    return starts.pop() if len(starts) == 1 else None


def _model(samples: Samples, table: EngineTable) -> str | None:
    """Return the one model whose tokens these are; a page that counts several has no one name for them."""
    if table.model_label is None:
        return None
    core = [name for field in CORE_FIELDS for name in table.counters[field]]
    # Before the first request only other series name it.
    return _only(_words(samples, core, table.model_label) or _words(samples, table.shown_by, table.model_label))


def _facts(samples: Samples, table: EngineTable) -> PageFacts:
    told: dict[Fact, object] = {"role": _role_word(samples, table)}
    for name, labels in table.info.items():
        told.update({fact: _only(_words(samples, (name,), label)) for fact, label in labels.items()})
    return facts_of(told, role_words=table.role_words, basis="page")


def _role_word(samples: Samples, table: EngineTable) -> str | None:
    names = sorted({*table.shown_by, *(name for names in table.counters.values() for name in names)})
    for label in table.role_labels:
        words = {word for word in _words(samples, names, label) if word.lower() in table.role_words}
        if words:
            return _only(words) or "unknown"
    return None


def _words(samples: Samples, names: Iterable[str], label: str) -> set[str]:
    """Return the values of a label on all samples of these names."""
    found = {word for name in names for labels in samples.get(name, {}) for key, word in labels if key == label}
    return found - NO_MODELS


def _only(words: set[str]) -> str | None:
    return next(iter(words)) if len(words) == 1 else None
