"""The tables of llama.cpp, Text Generation Inference and LMDeploy."""

from typing import Final

from tokenmill_agent.servers.engine_table import EngineTable, Question

TABLES: Final = (
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
    EngineTable(
        engine="tgi",
        versions="all",
        # It has no counters of tokens: the sums of its histograms of lengths are.
        counters={
            "input_tokens": ("tgi_request_input_length_sum",),
            "output_tokens": ("tgi_request_generated_tokens_sum",),
            "requests": ("tgi_request_success",),
            "waiting": ("tgi_queue_size",),
        },
        shown_by=("tgi_request_input_length_sum", "tgi_request_generated_tokens_sum", "tgi_queue_size"),
        rank_label=None,
        model_label=None,
        input_includes_cached=True,
        counts_at="finish",
        questions=(Question(path="/info", engine_version="version", model_served="model_id", model_root="model_id"),),
    ),
    EngineTable(
        engine="lmdeploy",
        versions="all",
        counters={
            "input_tokens": ("lmdeploy:prompt_tokens_total",),
            "cached_input_tokens": ("lmdeploy:cached_tokens_total",),
            "output_tokens": ("lmdeploy:generation_tokens_total",),
            "requests": ("lmdeploy:request_success_total",),
            "draft_tokens": ("lmdeploy:spec_decode_num_draft_tokens_total",),
            "accepted_tokens": ("lmdeploy:spec_decode_num_accepted_tokens_total",),
        },
        shown_by=("lmdeploy:prompt_tokens_total", "lmdeploy:generation_tokens_total"),
        rank_label="engine",
        model_label="model_name",
        input_includes_cached=True,
        counts_at="step",
        questions=(Question(path="/v1/models", model_served="data.0.id"),),
    ),
)
