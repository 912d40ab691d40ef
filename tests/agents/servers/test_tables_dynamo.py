"""Tests of what is counted on the pages of NVIDIA Dynamo."""

import pytest

from tests.agents.servers.reference import DATA, last_page, pages_exist, tokens, values
from tokenmill_agent.servers.counters import count_page, reason_of
from tokenmill_agent.servers.exposition import PageError

FRONTEND = """\
dynamo_frontend_input_sequence_tokens_sum{model="m"} 100
dynamo_frontend_cached_tokens_sum{model="m"} 40
dynamo_frontend_output_tokens_total{model="m"} 20
dynamo_frontend_output_sequence_tokens_sum{model="m"} 19
dynamo_frontend_detokenize_token_count 20
dynamo_frontend_tokenizer_cache_cached_tokens_total{model="m"} 5
dynamo_frontend_requests_total{model="m",status="success"} 3
dynamo_frontend_requests_total{model="unknown_model",status="error"} 2
"""
ROUTER = """\
dynamo_component_router_input_sequence_tokens_sum{model="m",router_id="1",worker_id="2"} 110
dynamo_component_router_output_sequence_tokens_sum{router_id="1",worker_id="2"} 21
"""
INJECTED = 'dynamo_component="prefill",dynamo_endpoint="generate",dynamo_namespace="d",'
WORKER = (
    "dynamo_component_uptime_seconds 110.2\n"
    f'vllm:prompt_tokens_total{{{INJECTED}engine="0",model="m",model_name="m",worker_id="6"}} 100.0\n'
    f'vllm:generation_tokens_total{{{INJECTED}engine="0",model="m",model_name="m",worker_id="6"}} 3.0\n'
)


def test_the_router_in_the_page_is_not_added() -> None:
    """The front end's page has the router's copy of the same tokens, and names that only look like tokens."""
    counts = count_page(FRONTEND + ROUTER)

    assert ("frontend", "m") == (counts.table.vantage, counts.model)
    assert [100, 40, 20] == tokens(FRONTEND + ROUTER)


def test_a_router_by_itself_is_a_vantage() -> None:
    """Alone, the router's page counts as the router's."""
    assert "router" == count_page(ROUTER).table.vantage
    assert [110, None, 21] == tokens(ROUTER)


def test_requests_that_failed_are_not_counted() -> None:
    """Only requests that ended well count, under no model called unknown."""
    assert 3 == values(count_page(FRONTEND))["requests"]


def test_several_models_have_no_one_name() -> None:
    """The tokens of two models are not put under the first one's name."""
    assert None is count_page(FRONTEND + 'dynamo_frontend_output_tokens_total{model="other"} 5\n').model


def test_a_front_end_before_its_first_request_is_known() -> None:
    """Its gauges tell what it is and which model it serves; its tokens are absent."""
    counts = count_page('dynamo_frontend_disconnected_clients 0\ndynamo_frontend_model_context_length{model="m"} 9\n')

    assert ("front end", "m", {}) == (counts.table.versions, counts.model, counts.ranks)
    assert "series_absent" == reason_of({})


@pytest.mark.parametrize(("component", "role"), [("prefill", "prefill"), ("decode", "decode"), ("backend", None)])
def test_role_of_a_worker(component: str, role: str | None) -> None:
    """The component tells the role; `backend` may be a decode worker or one that does both."""
    assert role == count_page(WORKER.replace('"prefill"', f'"{component}"')).facts.role


def test_series_with_and_without_injected_labels_count_once() -> None:
    """A worker may register its engine's series twice, once with its own labels added."""
    plain = 'vllm:prompt_tokens_total{engine="0",model_name="m"} 101.0\n'

    assert [101, None, 3] == tokens(WORKER + plain)


@pytest.mark.parametrize("engine", ["sglang", "trtllm"])
def test_passed_through_series_of_other_engines(engine: str) -> None:
    """A worker's tokens are its engine's, by the engine's table."""
    names = {"sglang": "sglang:", "trtllm": "trtllm_"}
    page = WORKER.replace("vllm:", names[engine]).replace('engine="0",', "")

    counts = count_page(page)

    assert (engine, "prefill", 100) == (counts.table.engine, counts.facts.role, values(counts)["input_tokens"])


def test_a_worker_without_token_counters_is_refused() -> None:
    """Gauges of a mock engine are no counters; the reason says who counts the tokens."""
    with pytest.raises(PageError, match="the front end counts its tokens"):
        count_page('dynamo_component_uptime_seconds 9.5\nvllm:num_requests_running{engine="0"} 1\n')


@pages_exist
def test_whole_pages_of_a_running_dynamo() -> None:
    """The unreduced page of a front end counts by its table alone; that of a mock worker is refused."""
    folder = DATA / "captures" / "dynamo_aggregated_restarts"
    counts = count_page((folder / "full_dynamo_frontend.prom").read_text(encoding="utf-8"))

    assert ("Tiny-Llama-FP32", 7783, 8045) == (
        counts.model,
        values(counts)["input_tokens"],
        values(counts)["output_tokens"],
    )
    with pytest.raises(PageError, match="front end counts"):
        count_page((folder / "full_dynamo_mocker_worker0.prom").read_text(encoding="utf-8"))


@pages_exist
@pytest.mark.parametrize("worker", ["worker0", "worker1"])
def test_recorded_mock_workers_are_refused(worker: str) -> None:
    """Workers without token counters are never counted, however long they ran."""
    page = last_page("dynamo_aggregated_restarts", worker)

    with pytest.raises(PageError, match="front end counts"):
        count_page(page["text"], content_type=page["content_type"])
