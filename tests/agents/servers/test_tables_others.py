"""Tests of what is counted on the pages of Text Generation Inference, llama.cpp and LMDeploy."""

from tests.agents.servers.reference import tokens, values
from tokenmill_agent.servers.counters import count_page


def test_tgi_counts_by_the_sums_of_its_histograms() -> None:
    """It has no counters of tokens; buckets and counts of requests are none."""
    page = (
        'tgi_request_input_length_bucket{le="+Inf"} 4\ntgi_request_input_length_sum 100\n'
        "tgi_request_input_length_count 4\ntgi_request_generated_tokens_sum 20\ntgi_request_skipped_tokens_sum 3\n"
    )

    assert [100, None, 20] == tokens(page)


def test_lmdeploy_look_alikes_are_not_counted() -> None:
    """Creation times, a gauge of requests and the histogram called a total add nothing."""
    page = 'lmdeploy:prompt_tokens_total{engine="0"} 100.0\nlmdeploy:generation_tokens_total{engine="0"} 20.0\n'
    noise = (
        'lmdeploy:prompt_tokens_created{engine="0"} 1.795e+09\nlmdeploy:iteration_tokens_total_sum{engine="0"} 120.0\n'
        'lmdeploy:num_requests_succeeded{engine="0"} 7.0\n'
    )

    assert {"input_tokens": 100, "output_tokens": 20} == values(count_page(page + noise))


def test_lmdeploy_ranks_stay_apart() -> None:
    """Its `engine` label is the data-parallel rank."""
    page = "".join(
        f'lmdeploy:{name}_tokens_total{{engine="{rank}"}} {rank + 1}.0\n'
        for name in ("prompt", "generation")
        for rank in (0, 1)
    )

    assert [1, None, 1] == tokens(page, 0)
    assert [2, None, 2] == tokens(page, 1)


def test_evaluated_and_reused_input_of_llamacpp_are_apart() -> None:
    """What came from the cache is not in the input."""
    page = (
        "llamacpp:prompt_tokens_total 60\nllamacpp:prompt_tokens_cached_total 40\nllamacpp:tokens_predicted_total 20\n"
    )

    assert [60, 40, 20] == tokens(page)
