"""The tables of NVIDIA Dynamo's own vantages, front end and router, and of its workers that count nothing.

A worker's tokens are those of its engine, whose series it passes through: the engine's table counts them.
"""

from typing import Final

from tokenmill_agent.servers import tables_sglang, tables_tensorrt
from tokenmill_agent.servers.engine_table import EngineTable, Question, Refusal

_FRONTEND: Final = (
    "dynamo_frontend_output_tokens_total",
    "dynamo_frontend_input_sequence_tokens_sum",
    "dynamo_frontend_model_context_length",
    "dynamo_frontend_disconnected_clients",
    "dynamo_frontend_inflight_requests",
    "dynamo_frontend_requests_total",
)
_ROUTER: Final = (
    "dynamo_component_router_input_sequence_tokens_sum",
    "dynamo_component_router_output_sequence_tokens_sum",
)
_QUESTIONS: Final = (
    # It serves several models side by side: one of them would be the wrong name for the tokens of all.
    Question(path="/v1/models", model_served="data.only.id"),
)

TABLES: Final = (
    EngineTable(
        engine="dynamo",
        versions="front end",
        # Input has no counter; the sum of its histogram moves at the first token. Of its names that look like tokens
        # the others count what the tokenizer or the router did.
        counters={
            "input_tokens": ("dynamo_frontend_input_sequence_tokens_sum",),
            "cached_input_tokens": ("dynamo_frontend_cached_tokens_sum",),
            "output_tokens": ("dynamo_frontend_output_tokens_total",),
            "requests": ("dynamo_frontend_requests_total",),
            "ttft_seconds_sum": ("dynamo_frontend_time_to_first_token_seconds_sum",),
            "ttft_count": ("dynamo_frontend_time_to_first_token_seconds_count",),
            "inter_token_seconds_sum": ("dynamo_frontend_inter_token_latency_seconds_sum",),
            "inter_token_count": ("dynamo_frontend_inter_token_latency_seconds_count",),
            "running": ("dynamo_frontend_inflight_requests",),
            "waiting": ("dynamo_frontend_queued_requests",),
        },
        # The router's series stand in the front end's page: its copy of the tokens must not be added.
        shown_by=_FRONTEND,
        rank_label=None,
        model_label="model",
        vantage="frontend",
        input_includes_cached=True,
        counts_at="step",
        keep_labels={"dynamo_frontend_requests_total": {"status": "success"}},
        questions=_QUESTIONS,
    ),
    EngineTable(
        engine="dynamo",
        versions="router",
        counters={
            "input_tokens": ("dynamo_component_router_input_sequence_tokens_sum",),
            "output_tokens": ("dynamo_component_router_output_sequence_tokens_sum",),
            "requests": ("dynamo_component_router_requests_total",),
        },
        shown_by=_ROUTER,
        absent=_FRONTEND,
        rank_label=None,
        model_label="model",
        vantage="router",
        input_includes_cached=True,
        counts_at="step",
    ),
)

REFUSALS: Final = (
    Refusal(
        why="a Dynamo worker without token counters of its engine; the front end counts its tokens",
        shown_by=("dynamo_component_uptime_seconds", "dynamo_component_requests_total"),
        # The gauges of vLLM alone are no counters: mock engines show them too.
        absent=(
            *_FRONTEND,
            *_ROUTER,
            "vllm:prompt_tokens_total",
            "vllm:generation_tokens_total",
            *(name for table in (*tables_sglang.TABLES, *tables_tensorrt.TABLES) for name in table.shown_by),
        ),
    ),
)
