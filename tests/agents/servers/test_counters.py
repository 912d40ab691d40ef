"""Tests of what is counted on the pages of each engine."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agents.servers.reference import DATA, exposition, pages_exist, values
from tokenmill_agent.servers.counters import WANTED, count_page, explain_page, reason_of
from tokenmill_agent.servers.exposition import PageError

WHOLE = {"input_tokens": 1_204_511, "output_tokens": 311_870}
CACHED = {**WHOLE, "cached_input_tokens": 802_392}
DRAFTS = {"draft_tokens": 290_400, "accepted_tokens": 213_866}
BUSY = {"running": 37, "waiting": 2}
R1_FP4 = "DeepSeek-R1-0528-NVFP4"
V3 = "deepseek-ai/DeepSeek-V3.1"
STORY: tuple[tuple[str, str, str | None, dict[str, int]], ...] = (
    ("vllm_python.prom", "vllm", f"deepseek-ai/{R1_FP4}", {**CACHED, **DRAFTS, **BUSY, "requests": 1200}),
    ("vllm_rust_frontend.prom", "vllm", "Qwen/Qwen3-235B-A22B-FP8", {**WHOLE, "requests": 1024, "running": 37}),
    ("sglang_prefill.prom", "sglang", V3, {**CACHED, **BUSY, "output_tokens": 1204, "requests": 1204}),
    ("sglang_decode.prom", "sglang", V3, {**CACHED, **BUSY, "requests": 1204}),
    ("trtllm_serve.prom", "trtllm", R1_FP4, {**CACHED, **DRAFTS, **BUSY, "requests": 1020}),
    ("dynamo_frontend.prom", "dynamo", "deepseek-ai/deepseek-r1", {**CACHED, "requests": 1163, "running": 37}),
    ("dynamo_vllm_prefill_worker.prom", "vllm", "deepseek-ai/DeepSeek-R1", {**WHOLE, "output_tokens": 1204}),
    ("triton_trtllm.prom", "triton", "tensorrt_llm", {**WHOLE, "requests": 1200}),
    ("tgi.prom", "tgi", None, {**WHOLE, "requests": 1200, "waiting": 2}),
    # Six digits are read as the whole number that they write.
    ("llamacpp.prom", "llama.cpp", None, {"input_tokens": 402_119, "output_tokens": 1_234_570, "running": 3}),
    (
        "lmdeploy.prom",
        "lmdeploy",
        "internlm3",
        {"input_tokens": 88_000, "cached_input_tokens": 12_000, "output_tokens": 21_000, "requests": 210},
    ),
)

VLLM = """\
# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="m"} 100.0
vllm:prompt_tokens_created{engine="0",model_name="m"} 1.7954754420606804e+09
vllm:prompt_tokens_by_source_total{engine="0",model_name="m",source="local_compute"} 60.0
vllm:prompt_tokens_by_source_total{engine="0",model_name="m",source="local_cache_hit"} 40.0
vllm:prompt_tokens_cached_total{engine="0",model_name="m"} 40.0
vllm:generation_tokens_total{engine="0",model_name="m"} 30.0
"""

LINES = st.builds(
    lambda name, labels, rest: f"{name}{labels}{rest}",
    st.sampled_from(sorted(WANTED)),
    st.one_of(
        st.sampled_from(["", "{}", '{engine="0"}', '{tp_rank="1",pp_rank="x"}', '{dynamo_component="prefill"}']),
        st.dictionaries(st.text("ab_", min_size=1, max_size=2), st.text(max_size=5), max_size=2).map(
            lambda labels: "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
        ),
    ),
    st.one_of(st.integers().map(lambda value: f" {value}"), st.floats().map(lambda value: f" {value}"), st.text()),
)


@pages_exist
class TestReferencePages:
    """Pages of real servers, and pages modelled on them."""

    @pytest.mark.parametrize(("name", "engine", "model", "expected"), STORY, ids=[row[0] for row in STORY])
    def test_every_exposition_tells_its_story(
        self, name: str, engine: str, model: str | None, expected: dict[str, int]
    ) -> None:
        """Each page gives the counts of the story that all of them tell, and nothing beside them."""
        counts = count_page(exposition(name))

        assert (engine, model) == (counts.table.engine, counts.model)
        assert expected == values(counts)

    def test_every_exposition_is_told(self) -> None:
        """No page lies there uncounted."""
        assert {path.name for path in (DATA / "expositions").glob("*.prom")} == {row[0] for row in STORY}

    def test_evaluated_input_of_llamacpp(self) -> None:
        """Its input has no cache in it, and what it counts it counts at the end of a request."""
        table = count_page(exposition("llamacpp.prom")).table

        assert (False, "finish") == (table.input_includes_cached, table.counts_at)

    @pytest.mark.parametrize(
        "folder",
        ["vllm_single_restart", "vllm_two_api_servers", "vllm_rust_frontend", "vllm_ngram_stop_strings"],
    )
    def test_last_page_of_a_capture(self, folder: str) -> None:
        """On every page that a real vLLM gave, input and output equal what its truth says of the last page."""
        truth, last = _capture(folder)

        counts = count_page(last["text"], content_type=last["content_type"])

        assert [_last(truth, "vllm:prompt_tokens_total"), _last(truth, "vllm:generation_tokens_total")] == [
            values(counts)["input_tokens"],
            values(counts)["output_tokens"],
        ]
        assert _last(truth, "vllm:prompt_tokens_cached_total") == values(counts)["cached_input_tokens"]

    def test_unreduced_page_of_a_real_server(self) -> None:
        """A whole page counts nothing beside the fields of the table."""
        counts = count_page((DATA / "captures" / "vllm_single_restart" / "full_vllm.prom").read_text(encoding="utf-8"))

        assert [0] == list(counts.ranks)
        assert set(values(counts)) <= set(counts.table.counters)
        assert counts.process_started_at_us is not None


class TestCountPage:
    """What becomes a counter and what does not."""

    def test_duplicated_series_count_once(self) -> None:
        """A page that registers its collector twice shows every series twice; the later copy is the larger."""
        copy = VLLM.replace(" 30.0", " 31.0")

        assert {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 31} == values(count_page(VLLM + copy))

    def test_splits_inside_a_rank_are_added(self) -> None:
        """Requests are split by how they finished; the row has their sum."""
        page = VLLM + "".join(
            f'vllm:request_success_total{{engine="0",finished_reason="{reason}",model_name="m"}} {count}.0\n'
            for reason, count in (("stop", 3), ("length", 4))
        )

        assert 7 == values(count_page(page))["requests"]

    def test_ranks_stay_apart(self) -> None:
        """Each data-parallel rank is a series of its own."""
        counts = count_page(VLLM + VLLM.replace('engine="0"', 'engine="1"').replace("100.0", "200.0"))

        assert [100, 200] == [values(counts, rank)["input_tokens"] for rank in (0, 1)]

    def test_underscore_spelling(self) -> None:
        """A server whose names were sanitised is counted the same."""
        assert values(count_page(VLLM)) == values(count_page(VLLM.replace("vllm:", "vllm_")))

    def test_old_vllm_has_its_own_table(self) -> None:
        """Before 0.16 cached input is counted by prefix cache hits, and before 0.9.2 by hits of the GPU's cache."""
        page = 'vllm:prompt_tokens_total{engine="0"} 9.0\nvllm:generation_tokens_total{engine="0"} 5.0\n'
        old = (
            'vllm:gpu_prefix_cache_hits_total{engine="0"} 3.0\nvllm:time_per_output_token_seconds_sum{engine="0"} 0.5\n'
        )

        counts = count_page(page + old)

        assert "before 0.16" == counts.table.versions
        assert (3, 0.5) == (values(counts)["cached_input_tokens"], values(counts)["inter_token_seconds_sum"])

    def test_absent_counter_is_not_zero(self) -> None:
        """Before its first request the Rust front end shows no prompt tokens: the field is absent, with a reason."""
        counts = count_page('vllm:generation_tokens_total{model_name="m",engine="0"} 0\n')

        assert {"output_tokens": 0} == values(counts)
        assert "series_absent" == reason_of(counts.ranks[0])

    @pytest.mark.parametrize("bad", ["NaN", "+Inf", "-1.0", "0.5", "x"])
    def test_value_that_is_no_count(self, bad: str) -> None:
        """A counter that is no count has no value, and the row says so."""
        counts = count_page(VLLM.replace(" 30.0", f" {bad}"))

        assert None is values(counts)["output_tokens"]
        assert "invalid_value" == reason_of(counts.ranks[0])

    def test_page_of_another_engine_than_the_configured_one(self) -> None:
        """It is refused, not taken for a page that lacks its counters: those would count from zero once they appear."""
        with pytest.raises(PageError, match=r"the page has no counters of llama\.cpp"):
            count_page(VLLM, engine="llama.cpp")

    @pytest.mark.parametrize(
        ("page", "content_type", "problem"),
        [
            ("up 1\n", None, "no counters of a known engine"),
            ("<html></html>\n", "text/html", "no metrics page"),
            ('[{"iter": 1}]\n', "application/json; charset=utf-8", "no metrics page"),
            ('vllm:prompt_tokens_total{engine="first"} 5\n', None, "no rank"),
        ],
    )
    def test_page_that_cannot_be_counted(self, page: str, content_type: str | None, problem: str) -> None:
        """What is no metrics page is refused by name."""
        with pytest.raises(PageError, match=problem):
            count_page(page, content_type=content_type)

    @pytest.mark.parametrize(("starts", "expected"), [(["1.5e9"], 1_500_000_000_000_000), (["1.5e9", "1.6e9"], None)])
    def test_process_start_is_taken_where_it_is_one(self, starts: list[str], expected: int | None) -> None:
        """Several processes behind one page have no common start."""
        lines = [f'process_start_time_seconds{{pid="{index}"}} {start}\n' for index, start in enumerate(starts)]

        assert expected == count_page(VLLM + "".join(lines)).process_started_at_us

    @settings(max_examples=100)
    @given(st.permutations(VLLM.splitlines()))
    def test_order_of_lines_does_not_matter(self, lines: list[str]) -> None:
        """A page counts the same in any order."""
        assert values(count_page(VLLM)) == values(count_page("\n".join(lines)))

    @settings(max_examples=200)
    @given(st.binary(max_size=300))
    def test_arbitrary_bytes_never_crash(self, noise: bytes) -> None:
        """Noise behind a page is read, ignored, or refused by name."""
        text = (VLLM.encode() + noise).decode("utf-8", "replace")

        with contextlib.suppress(PageError):
            assert values(count_page(text))["input_tokens"] in (100, None)

    @settings(max_examples=300)
    @given(st.lists(LINES, max_size=20))
    def test_arbitrary_lines_of_wanted_names_never_crash(self, lines: list[str]) -> None:
        """Whatever stands behind a wanted name is counted as a whole number from 0 on, or refused by name."""
        with contextlib.suppress(PageError):
            counts = count_page("\n".join(lines))
            counted = [one.value for fields in counts.ranks.values() for one in fields.values()]
            assert all(value is None or 0 <= value < 2**63 for value in counted)

    @settings(max_examples=200)
    @given(st.binary(max_size=400), st.one_of(st.none(), st.text(max_size=60)))
    def test_an_arbitrary_document_is_refused_by_name(self, body: bytes, content_type: str | None) -> None:
        """Bytes that are no page have no counters, under whatever type they come."""
        with pytest.raises(PageError):
            count_page(body.decode("utf-8", "replace"), content_type=content_type)


def test_explain_page_names_the_metric_of_every_field() -> None:
    """Every row says which sample of the page became which field."""
    rows = [(row.engine, row.rank, row.field, row.metric, row.value) for row in explain_page(VLLM)]

    assert [
        ("vllm", 0, "input_tokens", "vllm:prompt_tokens_total", 100),
        ("vllm", 0, "cached_input_tokens", "vllm:prompt_tokens_cached_total", 40),
        ("vllm", 0, "output_tokens", "vllm:generation_tokens_total", 30),
    ] == rows


def _capture(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    path = DATA / "captures" / folder
    records = [json.loads(line) for line in (path / "capture.jsonl").read_text(encoding="utf-8").splitlines()]
    return json.loads((path / "truth.json").read_text(encoding="utf-8")), [r for r in records if r["status"] == 200][-1]


def _last(truth: dict[str, Any], metric: str) -> int:
    lives = truth["counters_at_the_end_of_each_process_life"]["server"][metric]["series"].values()
    return sum(int(life[-1]["last"]) for life in lives)
