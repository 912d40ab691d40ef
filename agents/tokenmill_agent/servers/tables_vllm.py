"""The tables of vLLM: its Python and Rust front ends, one process or several, alone or inside a Dynamo worker."""

from collections.abc import Mapping
from typing import Final

from tokenmill_agent.records import Role
from tokenmill_agent.servers.engine_table import EngineTable, Field, Question

DYNAMO_ROLES: Final[Mapping[str, Role]] = {"prefill": "prefill", "decode": "decode"}
"""What a Dynamo component's name tells. `backend` tells nothing: it is the decode worker, or one that does both."""

_COUNTERS: Final[Mapping[Field, tuple[str, ...]]] = {
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
_QUESTIONS: Final = (
    Question(path="/version", engine_version="version"),
    # The base model stands first; adapters follow it.
    Question(path="/v1/models", model_served="data.0.id", model_root="data.0.root"),
)

TABLES: Final = (
    EngineTable(
        engine="vllm",
        versions="before 0.16",
        # Cached input had no counter of its own: hits, counted when a request is scheduled, stand for it.
        counters={
            **_COUNTERS,
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
        role_labels=("dynamo_component",),
        role_words=DYNAMO_ROLES,
        questions=_QUESTIONS,
    ),
    EngineTable(
        engine="vllm",
        versions="0.16 and newer",
        counters=_COUNTERS,
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
        role_labels=("dynamo_component",),
        role_words=DYNAMO_ROLES,
        questions=_QUESTIONS,
    ),
)
"""A worker's role in disaggregated serving is on no page of vLLM's own."""
