"""Tests of what is counted on the pages of SGLang."""

import pytest

from tests.agents.servers.reference import exposition, last_page, pages_exist, tokens, values
from tokenmill_agent.servers.counters import count_page, reason_of
from tokenmill_agent.servers.exposition import PageError

PAGE = """\
sglang:prompt_tokens_total{engine_type="unified",is_streaming="true",model_name="m"} 70.0
sglang:prompt_tokens_total{engine_type="unified",is_streaming="false",model_name="m"} 30.0
sglang:generation_tokens_total{engine_type="unified",is_streaming="true",model_name="m"} 20.0
sglang:cached_tokens_total{cache_source="device",engine_type="unified",model_name="m"} 30.0
sglang:cached_tokens_total{cache_source="host",engine_type="unified",model_name="m"} 10.0
"""
SCHEDULER = (
    'sglang:num_running_reqs{{dp_rank="{dp}",engine_type="unified",model_name="m",'
    'moe_ep_rank="{tp}",pp_rank="{pp}",tp_rank="{tp}"}} 4.0\n'
)


def test_streaming_and_cache_sources_are_added() -> None:
    """Both kinds of request and both tiers of the cache are one server's tokens."""
    assert [100, 40, 20] == tokens(PAGE)


def test_cached_total_counts_only_where_no_source_is_told() -> None:
    """The source `total` stands for all of them: beside them it would count twice, alone it is the count."""
    total = 'sglang:cached_tokens_total{cache_source="total",engine_type="unified",model_name="m"} 40.0\n'
    alone = "".join(line for line in PAGE.splitlines(keepends=True) if "cache_source" not in line)

    assert [100, 40, 20] == tokens(PAGE + total) == tokens(alone + total)


def test_dp_cooperation_twins_are_not_counted() -> None:
    """Real-time counters and their twins by cooperation hold the same tokens again."""
    again = "".join(
        f'sglang:{name}_tokens_total{{mode="{mode}",model_name="m",pp_rank="0",tp_rank="0"}} 100.0\n'
        for name in ("realtime", "dp_cooperation_realtime", "prefill_effective")
        for mode in ("prefill_compute", "decode", "input")
    )

    assert [100, 40, 20] == tokens(PAGE + again)


def test_tp_rank_duplicates_count_once() -> None:
    """With metrics of all schedulers each tensor- and pipeline-parallel rank shows the same requests."""
    ranks = "".join(SCHEDULER.format(dp=0, tp=tp, pp=pp) for tp in range(4) for pp in range(2))

    assert 4 == values(count_page(PAGE + ranks))["running"]


def test_data_parallel_ranks_each_have_a_leader() -> None:
    """Under attention data parallelism the leaders of the ranks have different tensor-parallel ranks."""
    ranks = "".join(SCHEDULER.format(dp=tp // 2, tp=tp, pp=0) for tp in range(8))

    assert 16 == values(count_page(PAGE + ranks))["running"]


@pytest.mark.parametrize(("tp", "pp"), [(8, 0), (0, 1)])
def test_page_of_a_follower_node_is_refused(tp: int, pp: int) -> None:
    """A node that serves no requests shows schedulers of other ranks only: node 0 has the tokens."""
    with pytest.raises(PageError, match="follower node of SGLang"):
        count_page(SCHEDULER.format(dp=1, tp=tp, pp=pp))


def test_a_gateway_is_refused() -> None:
    """It counts a part of its workers' tokens once more."""
    with pytest.raises(PageError, match="a part of the tokens only"):
        count_page('smg_router_tokens_total{model="m",token_type="input"} 5\n')


def test_a_leader_before_its_first_request_lacks_its_counters() -> None:
    """Its tokens are absent, not zero, and it is known for what it is."""
    counts = count_page(SCHEDULER.format(dp=0, tp=0, pp=0))

    assert ("sglang", "series_absent", "m") == (counts.table.engine, reason_of(counts.ranks[0]), counts.model)


@pytest.mark.parametrize(
    ("engine_type", "role"),
    [("unified", "aggregated"), ("prefill", "prefill"), ("decode", "decode"), ("dynamic", "unknown"), ("new", None)],
)
def test_role_is_told_by_the_page(engine_type: str, role: str | None) -> None:
    """The engine type is the role; one that changes is no role to normalise by."""
    facts = count_page(PAGE.replace("unified", engine_type)).facts

    assert (role, "page" if role else None) == (facts.role, facts.role_basis)


def test_old_pages_tell_no_role() -> None:
    """Before 0.5.14 no label tells it."""
    assert None is count_page(PAGE.replace('engine_type="unified",', "")).facts.role


@pages_exist
def test_a_prefill_and_decode_pair_normalises() -> None:
    """Input of the prefill worker and output of the decode worker are the pair's; each counts the prompt."""
    pages = [count_page(exposition(f"sglang_{role}.prom")) for role in ("prefill", "decode")]
    prefill, decode = [values(page) for page in pages]

    assert ["prefill", "decode"] == [page.facts.role for page in pages]
    assert (1_204_511, 311_870) == (prefill["input_tokens"], decode["output_tokens"])
    assert 402_119 == (prefill["input_tokens"] or 0) - (prefill["cached_input_tokens"] or 0)


@pages_exist
def test_openmetrics_negotiation_counts_the_same() -> None:
    """Asked for OpenMetrics, the same collectors spell their samples with an underscore."""
    pages = [last_page("sglang_collectors_unified", target) for target in ("unified", "unified-openmetrics")]

    plain, negotiated = [count_page(page["text"], content_type=page["content_type"]) for page in pages]

    assert values(plain) == values(negotiated)
    assert (21_331, 5579, 2878) == tuple(
        values(plain)[f] for f in ("input_tokens", "cached_input_tokens", "output_tokens")
    )
