"""Tests of what is counted on the pages of vLLM."""

import pytest

from tests.agents.servers.reference import tokens, values
from tokenmill_agent.servers.counters import count_page

PAGE = """\
vllm:prompt_tokens_total{engine="0",model_name="m"} 100.0
vllm:prompt_tokens_cached_total{engine="0",model_name="m"} 40.0
vllm:generation_tokens_total{engine="0",model_name="m"} 20.0
vllm:spec_decode_num_accepted_tokens_total{engine="0",model_name="m"} 9.0
"""


@pytest.mark.parametrize(
    "look_alike",
    [
        'vllm:prompt_tokens_created{engine="0",model_name="m"} 1.7954754420606804e+09',
        'vllm:generation_tokens_created{engine="0",model_name="m"} 1.7954754420606804e+09',
        'vllm:iteration_tokens_total_sum{engine="0",model_name="m"} 120.0',
        'vllm:iteration_tokens_total_bucket{engine="0",le="+Inf",model_name="m"} 5.0',
        'vllm:prompt_tokens_by_source_total{engine="0",model_name="m",source="local_compute"} 60.0',
        'vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="m",position="0"} 6.0',
        'vllm:request_prompt_tokens_sum{engine="0",model_name="m"} 100.0',
    ],
)
def test_look_alikes_are_not_counted(look_alike: str) -> None:
    """`_created` times, the histogram called a total, per-position twins and splits add nothing."""
    assert values(count_page(PAGE)) == values(count_page(f"{PAGE}{look_alike}\n"))


def test_renamed_series_of_an_old_version_count() -> None:
    """Before 0.9.2 the cache's hits had another name."""
    old = PAGE.replace("vllm:prompt_tokens_cached_total", "vllm:gpu_prefix_cache_hits_total")

    assert [100, 40, 20] == tokens(old)


def test_no_page_of_vllm_alone_tells_a_role() -> None:
    """A worker of disaggregated serving looks like any other."""
    assert None is count_page(PAGE).facts.role


def test_models_of_tritons_vllm_backend_are_added() -> None:
    """Two models that one Triton serves differ in their labels only: neither is taken for a copy of the other."""
    page = "".join(
        f'vllm:{name}_tokens_total{{model="{model}",version="1"}} 5\n'
        for name in ("prompt", "generation")
        for model in ("a", "b")
    )

    assert [10, None, 10] == tokens(page)
