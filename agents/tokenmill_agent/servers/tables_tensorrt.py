"""The tables of TensorRT-LLM: trtllm-serve, and Triton with the TensorRT-LLM backend."""

from typing import Final

from tokenmill_agent.servers.engine_table import EngineTable, Question
from tokenmill_agent.servers.tables_vllm import DYNAMO_ROLES

TABLES: Final = (
    EngineTable(
        engine="trtllm",
        versions="1.3 and newer",
        counters={
            "input_tokens": ("trtllm_prompt_tokens_total",),
            "cached_input_tokens": ("trtllm_prompt_cached_tokens_total",),
            "output_tokens": ("trtllm_generation_tokens_total",),
            "requests": ("trtllm_request_success_total",),
            # The same tokens by position are `..._drafted_tokens_total` and `..._accepted_tokens_total`.
            "draft_tokens": ("trtllm_spec_decode_num_draft_tokens_total",),
            "accepted_tokens": ("trtllm_spec_decode_num_accepted_tokens_total",),
            "ttft_seconds_sum": ("trtllm_time_to_first_token_seconds_sum",),
            "ttft_count": ("trtllm_time_to_first_token_seconds_count",),
            "running": ("trtllm_num_requests_running",),
            "waiting": ("trtllm_num_requests_waiting",),
        },
        shown_by=(
            "trtllm_prompt_tokens_total",
            "trtllm_generation_tokens_total",
            "trtllm_model_config_info",
            "trtllm_parallel_config_info",
            "trtllm_num_requests_running",
        ),
        rank_label=None,
        model_label="model_name",
        # `/metrics` of this server is another thing: reading it takes away what others would read.
        metrics_path="/prometheus/metrics",
        input_includes_cached=True,
        counts_at="finish",
        # `engine_type` is the backend's name here, not a role.
        role_labels=("dynamo_component",),
        role_words=DYNAMO_ROLES,
        info={
            "trtllm_model_config_info": {
                "model_served": "served_model_name",
                "model_root": "model",
                "precision": "quantization",
            },
            "trtllm_parallel_config_info": {
                "tensor_parallel": "tensor_parallel_size",
                "pipeline_parallel": "pipeline_parallel_size",
                "expert_parallel": "expert_parallel_size",
                "expected_gpu_count": "gpu_count",
            },
            "trtllm_speculative_config_info": {"speculative": "spec_method"},
        },
        questions=(
            Question(path="/version", engine_version="version"),
            Question(path="/v1/models", model_served="data.0.id"),
        ),
    ),
    EngineTable(
        engine="triton",
        versions="TensorRT-LLM backend",
        # Requests are counted by the lengths of their input: an ensemble counts each request once per part of it.
        counters={
            "input_tokens": ("nv_llm_input_token_len_sum",),
            "output_tokens": ("nv_llm_output_token_len_sum",),
            "requests": ("nv_llm_input_token_len_count",),
        },
        shown_by=("nv_llm_input_token_len_sum", "nv_llm_output_token_len_sum"),
        rank_label=None,
        model_label="model",
        input_includes_cached=True,
        counts_at="finish",
        keep_labels={
            "nv_llm_input_token_len_sum": {"response_metric_type": "total_input_tokens"},
            "nv_llm_input_token_len_count": {"response_metric_type": "total_input_tokens"},
            "nv_llm_output_token_len_sum": {"response_metric_type": "total_output_tokens"},
        },
        questions=(Question(path="/v2", engine_version="version"),),
    ),
)
