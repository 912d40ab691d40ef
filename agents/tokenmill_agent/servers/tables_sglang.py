"""The tables of SGLang, with and without disaggregation, alone or inside a Dynamo worker."""

from collections.abc import Mapping
from typing import Final

from tokenmill_agent.records import Role
from tokenmill_agent.servers.engine_table import EngineTable, Field, Question, Refusal
from tokenmill_agent.servers.tables_vllm import DYNAMO_ROLES

SCHEDULER_SERIES: Final = (
    "sglang:prefill_effective_tokens_total",
    "sglang:realtime_tokens_total",
    "sglang:num_running_reqs",
    "sglang:num_queue_reqs",
)
"""There before the first request, and on the pages of follower nodes too. The tokens in them are the same again."""

_COUNTERS: Final[Mapping[Field, tuple[str, ...]]] = {
    "input_tokens": ("sglang:prompt_tokens_total",),
    "cached_input_tokens": ("sglang:cached_tokens_total",),
    "output_tokens": ("sglang:generation_tokens_total",),
    "requests": ("sglang:num_requests_total",),
    "ttft_seconds_sum": ("sglang:time_to_first_token_seconds_sum",),
    "ttft_count": ("sglang:time_to_first_token_seconds_count",),
    "inter_token_seconds_sum": ("sglang:inter_token_latency_seconds_sum",),
    "inter_token_count": ("sglang:inter_token_latency_seconds_count",),
    "running": ("sglang:num_running_reqs",),
    "waiting": ("sglang:num_queue_reqs",),
}
# A worker that changes its role counts the same prompts now as one and now as the other.
_ROLES: Final[Mapping[str, Role]] = {
    **DYNAMO_ROLES,
    "unified": "aggregated",
    "null": "aggregated",
    "dynamic": "unknown",
}

TABLES: Final = (
    EngineTable(
        engine="sglang",
        # Before 0.5.14 there is no `engine_type`: the role is then in what the server tells, or in its command line.
        versions="all",
        counters=_COUNTERS,
        shown_by=("sglang:prompt_tokens_total", "sglang:generation_tokens_total", *SCHEDULER_SERIES),
        # The tokens are counted once per server, without a rank; data-parallel ranks show in scheduler gauges only.
        rank_label=None,
        model_label="model_name",
        input_includes_cached=True,
        counts_at="finish",
        leader_labels=("pp_rank", "tp_rank", "moe_ep_rank"),
        fallback=("cache_source", "total"),
        role_labels=("engine_type", "dynamo_component"),
        role_words=_ROLES,
        questions=(
            Question(
                path="/server_info",
                engine_version="version",
                model_served="served_model_name",
                model_root="model_path",
                facts={
                    "role": "disaggregation_mode",
                    "precision": "quantization",
                    "tensor_parallel": "tp_size",
                    "pipeline_parallel": "pp_size",
                    "data_parallel": "dp_size",
                    "expert_parallel": "ep_size",
                    "speculative": "speculative_algorithm",
                },
            ),
            Question(path="/model_info", model_served="served_model_name", model_root="model_path"),
            Question(path="/v1/models", model_served="data.0.id"),
        ),
    ),
)

REFUSALS: Final = (
    Refusal(
        why="a gateway of SGLang, which counts a part of the tokens only; the servers behind it count all",
        shown_by=("smg_router_tokens_total",),
        absent=("sglang:prompt_tokens_total",),
    ),
)
