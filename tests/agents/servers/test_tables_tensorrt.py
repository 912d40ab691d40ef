"""Tests of what is counted on the pages of trtllm-serve and of Triton with TensorRT-LLM."""

from tests.agents.servers.reference import tokens, values
from tokenmill_agent.servers.counters import count_page
from tokenmill_agent.servers.engine_table import PageFacts
from tokenmill_agent.servers.tables_tensorrt import TABLES

SERVE = """\
trtllm_prompt_tokens_total{engine_type="pytorch",model_name="r1"} 100.0
trtllm_generation_tokens_total{engine_type="pytorch",model_name="r1"} 20.0
trtllm_prompt_cached_tokens_total{engine_type="pytorch",model_name="r1"} 40.0
trtllm_spec_decode_num_accepted_tokens_total{engine_type="pytorch",model_name="r1"} 9.0
"""
INFO = (
    'trtllm_model_config_info{dtype="auto",model="nvidia/r1",pid="7",quantization="NVFP4",served_model_name="r1"} 1.0\n'
    'trtllm_parallel_config_info{expert_parallel_size="8",gpu_count="8",pid="7",'
    'pipeline_parallel_size="1",tensor_parallel_size="8"} 1.0\n'
    'trtllm_speculative_config_info{pid="7",spec_enabled="true",spec_method="MTP",spec_num_tokens="3"} 1.0\n'
)
TRITON = """\
nv_llm_input_token_len_sum{model="tensorrt_llm",response_metric_type="total_input_tokens",version="1"} 100
nv_llm_output_token_len_sum{model="tensorrt_llm",response_metric_type="total_output_tokens",version="1"} 20
nv_llm_input_token_len_count{model="tensorrt_llm",response_metric_type="total_input_tokens",version="1"} 3
"""


def test_gauges_called_total_are_not_counted() -> None:
    """The tokens of one iteration are no cumulative count, whatever the name says."""
    gauge = 'trtllm_total_context_tokens{model_name="r1",pid="7"} 900.0\n'

    assert [100, 40, 20] == tokens(SERVE + gauge)


def test_tokens_by_position_are_not_counted() -> None:
    """Accepted tokens of a position are the same tokens again."""
    again = 'trtllm_spec_decode_accepted_tokens_total{model_name="r1",token_position="0"} 6.0\n'

    assert 9 == values(count_page(SERVE + again))["accepted_tokens"]


def test_config_gauges_tell_the_facts() -> None:
    """Model, quantization, sizes and speculation stand in labels; the count of GPUs is that of one copy."""
    assert (
        PageFacts(
            model_served="r1",
            model_root="nvidia/r1",
            precision="NVFP4",
            precision_basis="page",
            tensor_parallel=8,
            pipeline_parallel=1,
            expert_parallel=8,
            expected_gpu_count=8,
            speculative="MTP",
        )
        == count_page(SERVE + INFO).facts
    )


def test_config_gauges_that_disagree_tell_nothing() -> None:
    """Two processes of two sizes leave the size unknown."""
    other = INFO.replace('pid="7"', 'pid="8"').replace('gpu_count="8"', 'gpu_count="4"')

    facts = count_page(SERVE + INFO + other).facts

    assert (None, 8) == (facts.expected_gpu_count, facts.tensor_parallel)


def test_the_backend_name_is_no_role() -> None:
    """`engine_type` is `pytorch` here; inside a Dynamo worker its component tells the role."""
    worker = SERVE.replace("{engine_type", '{dynamo_component="prefill",engine_type')

    assert [None, "prefill"] == [count_page(page).facts.role for page in (SERVE, worker)]


def test_an_undefined_model_is_none() -> None:
    """Old builds write `undefined` where the model's name should stand."""
    assert None is count_page(SERVE.replace('"r1"', '"undefined"')).model


def test_the_destructive_page_is_not_the_one_to_read() -> None:
    """What `/metrics` of trtllm-serve gives is gone for its other readers."""
    assert "/prometheus/metrics" == TABLES[0].metrics_path


def test_an_ensemble_of_triton_counts_once() -> None:
    """Every part of an ensemble counts the request; the lengths of its input are counted once."""
    parts = "".join(
        f'nv_inference_request_success{{model="{part}",version="1"}} 3\n'
        for part in ("ensemble", "preprocessing", "tensorrt_llm", "postprocessing")
    )

    assert 3 == values(count_page(TRITON + parts))["requests"]


def test_triton_lengths_of_another_kind_are_not_counted() -> None:
    """Only the kind of length that the name promises is added, and gauges of the batcher are not."""
    other = (
        'nv_llm_output_token_len_sum{model="tensorrt_llm",response_metric_type="total_input_tokens",version="1"} 100\n'
        'nv_trt_llm_v1_metrics{v1_specific_metric="total_generation_tokens"} 7\n'
    )

    assert [100, None, 20] == tokens(TRITON + other)
