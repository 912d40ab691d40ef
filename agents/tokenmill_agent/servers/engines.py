"""What each engine counts: one table per engine and range of versions, exact sample names, no patterns.

A name that merely looks like a counter of tokens is not in a table and is never counted: `_created` (a time),
`_bucket`, histograms called `..._total`, per-position twins. To add an engine, add a table and a page of it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Final, Literal

from tokenmill_agent.records import Vantage

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One JSON document that an engine gives, and where in it an answer stands (`data.0.id`)."""

    path: str
    engine_version: str | None = None
    model_served: str | None = None
    model_root: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngineTable:
    """The counters of one engine in one range of versions.

    `counters` gives, per field, the exact sample names in order of preference: the first that is on the page counts.
    Samples of that name that differ only in other labels than `rank_label` are added, after identical label sets were
    counted once. The table fits a page that has any name of `shown_by` and none of `absent`; the first that fits wins.
    `counts_at` is when the output counter moves: at every step, or when the request is finished.
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
    questions: tuple[Question, ...] = ()


_VLLM_COUNTERS: Final[Mapping[Field, tuple[str, ...]]] = {
    "input_tokens": ("vllm:prompt_tokens_total",),
    "cached_input_tokens": ("vllm:prompt_tokens_cached_total",),
    "output_tokens": ("vllm:generation_tokens_total",),
    "requests": ("vllm:request_success_total",),
    "draft_tokens": ("vllm:spec_decode_num_draft_tokens_total",),
    "accepted_tokens": ("vllm:spec_decode_num_accepted_tokens_total",),
    "ttft_seconds_sum": ("vllm:time_to_first_token_seconds_sum",),
    "ttft_count": ("vllm:time_to_first_token_seconds_count",),
    "inter_token_seconds_sum": ("vllm:inter_token_latency_seconds_sum",),
    "inter_token_count": ("vllm:inter_token_latency_seconds_count",),
    "running": ("vllm:num_requests_running",),
    "waiting": ("vllm:num_requests_waiting",),
}
_VLLM_QUESTIONS: Final = (
    Question(path="/version", engine_version="version"),
    # The base model stands first; adapters follow it.
    Question(path="/v1/models", model_served="data.0.id", model_root="data.0.root"),
)

TABLES: Final[tuple[EngineTable, ...]] = (
    EngineTable(
        engine="vllm",
        versions="before 0.16",
        # Cached input had no counter of its own: hits, counted when a request is scheduled, stand for it.
        counters={
            **_VLLM_COUNTERS,
            "cached_input_tokens": ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
            "inter_token_seconds_sum": (
                "vllm:inter_token_latency_seconds_sum",
                "vllm:time_per_output_token_seconds_sum",
            ),
            "inter_token_count": (
                "vllm:inter_token_latency_seconds_count",
                "vllm:time_per_output_token_seconds_count",
            ),
        },
        # The Rust front end, which is newer, shows prompt tokens only with their split by source beside them.
        shown_by=("vllm:prompt_tokens_total",),
        absent=("vllm:prompt_tokens_by_source_total", "vllm:prompt_tokens_cached_total"),
        rank_label="engine",
        model_label="model_name",
        input_includes_cached=True,
        counts_at="step",
        questions=_VLLM_QUESTIONS,
    ),
    EngineTable(
        engine="vllm",
        versions="0.16 and newer",
        counters=_VLLM_COUNTERS,
        # The gauges and the output counter are there before the first request, with every front end but the
        # multi-process one, which shows its counters from the start.
        shown_by=(
            "vllm:generation_tokens_total",
            "vllm:prompt_tokens_total",
            "vllm:num_requests_running",
            "vllm:prefix_cache_queries_total",
        ),
        rank_label="engine",
        model_label="model_name",
        input_includes_cached=True,
        counts_at="step",
        questions=_VLLM_QUESTIONS,
    ),
    EngineTable(
        engine="llama.cpp",
        versions="all",
        # Its seconds are summed over requests that run side by side: they are no busy time of the engine.
        counters={
            "input_tokens": ("llamacpp:prompt_tokens_total",),
            "cached_input_tokens": ("llamacpp:prompt_tokens_cached_total",),
            "output_tokens": ("llamacpp:tokens_predicted_total",),
            "draft_tokens": ("llamacpp:spec_decode_num_draft_tokens_total",),
            "accepted_tokens": ("llamacpp:spec_decode_num_accepted_tokens_total",),
            "running": ("llamacpp:requests_processing",),
            "waiting": ("llamacpp:requests_deferred",),
        },
        shown_by=("llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total"),
        rank_label=None,
        model_label=None,
        # It counts what it evaluated; what came from its cache is a counter beside it.
        input_includes_cached=False,
        counts_at="finish",
        questions=(
            Question(path="/v1/models", model_served="data.0.id"),
            Question(path="/props", engine_version="build_info", model_served="model_alias", model_root="model_path"),
        ),
    ),
)
"""Every engine that is counted. A more special table stands before a more general one."""


def spellings(name: str) -> tuple[str, ...]:
    """Return how a sample may be spelled: content negotiation and Ray turn the colon into an underscore."""
    return (name, name.replace(":", "_")) if ":" in name else (name,)


def wanted_names() -> dict[str, str]:
    """Return every spelling of every sample that some table needs, with the name that the tables use for it."""
    names = {PROCESS_START}
    for table in TABLES:
        names.update(table.shown_by, table.absent, *table.counters.values())
    return {spelling: name for name in sorted(names) for spelling in spellings(name)}
