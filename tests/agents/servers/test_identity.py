"""Tests of what a server is asked beside its counters."""

import pytest

from tests.agents.servers.pages import PageServer
from tokenmill_agent.servers.engine_table import PageFacts
from tokenmill_agent.servers.engines import TABLES, EngineTable
from tokenmill_agent.servers.identity import Identity, ask_again, ask_first, is_due

VLLM = next(table for table in TABLES if table.engine == "vllm")
SGLANG = next(table for table in TABLES if table.engine == "sglang")
LLAMACPP = next(table for table in TABLES if table.engine == "llama.cpp")


def answers(table: EngineTable, **pages: str) -> Identity:
    """Ask a server that gives these documents."""
    with PageServer() as server:
        for name, text in pages.items():
            server.show(
                f"/{name.replace('__', ' ').replace('_', '/').replace(' ', '_')}", text, content_type="application/json"
            )
        return ask_first(server.url, table, timeout_seconds=30.0)


class TestAsk:
    """Documents of each engine, and of none."""

    def test_vllm(self) -> None:
        """A vLLM tells its version, and its base model before its adapters."""
        found = answers(
            VLLM,
            version='{"version":"0.32.0"}',
            v1_models='{"data":[{"id":"tiny","root":"models/tiny"},{"id":"lora","root":"l","parent":"tiny"}]}',
        )

        assert Identity(engine_version="0.32.0", model_served="tiny", model_root="models/tiny", complete=True) == found

    def test_llamacpp(self) -> None:
        """A llama.cpp tells its build and the path of its weights."""
        found = answers(
            LLAMACPP, props='{"build_info":"b1","model_path":"m.gguf"}', v1_models='{"data":[{"id":"tiny"}]}'
        )

        assert Identity(engine_version="b1", model_served="tiny", model_root="m.gguf", complete=True) == found

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "no JSON",
            "[]",
            '{"data":{}}',
            '{"data":[]}',
            '{"data":[{"id":7}]}',
            '{"data":[{"id":""}]}',
            "[" * 99_999,
        ],
    )
    def test_odd_answers_tell_nothing(self, text: str) -> None:
        """An answer of another shape leaves the field unknown."""
        assert Identity(complete=True) == answers(VLLM, v1_models=text, version=text)

    def test_a_server_that_does_not_tell_is_not_asked_again(self) -> None:
        """A missing document is an answer too."""
        assert Identity(complete=True) == answers(VLLM)

    def test_a_silent_server_is_asked_again(self) -> None:
        """Without a connection nothing is known, and asking again may tell more."""
        with PageServer() as server:
            url = server.url

        assert Identity(complete=False) == ask_first(url, VLLM, timeout_seconds=30.0)

    def test_half_a_surrogate_pair_can_be_sent_on(self) -> None:
        """Every answer can be encoded."""
        found = answers(VLLM, version='{"version":"\\ud800"}')

        assert b"?" == (found.engine_version or "").encode()

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_busy_server_is_asked_again(self, status: int) -> None:
        """A server that loads or has too much to do may tell later; what it told before stays."""
        known = Identity(engine_version="0.32.0")
        with PageServer() as server:
            server.show("/v1/models", "", status=status)
            found = ask_again(server.url, VLLM, known)

        assert known == found

    def test_sglang(self) -> None:
        """An SGLang tells its sizes, its precision and its role, and its version beside them."""
        told = '{"version":"0.5.23","served_model_name":"v3","model_path":"ds/v3","tp_size":8,"dp_size":1,"pp_size":2,'
        found = answers(SGLANG, server__info=told + '"ep_size":8,"quantization":"fp8","disaggregation_mode":"prefill"}')

        assert ("0.5.23", "v3", "ds/v3") == (found.engine_version, found.model_served, found.model_root)
        assert (
            PageFacts(
                role="prefill",
                role_basis="endpoint",
                precision="fp8",
                precision_basis="endpoint",
                tensor_parallel=8,
                data_parallel=1,
                pipeline_parallel=2,
                expert_parallel=8,
            )
            == found.facts
        )

    @pytest.mark.parametrize(
        ("engine", "pages", "expected"),
        [
            ("trtllm", {"version": '{"version":"1.3.0"}', "v1_models": '{"data":[{"id":"r1"}]}'}, ("1.3.0", "r1")),
            ("tgi", {"info": '{"version":"3.3.0","model_id":"org/m"}'}, ("3.3.0", "org/m")),
            ("lmdeploy", {"v1_models": '{"data":[{"id":"internlm3"}]}'}, (None, "internlm3")),
            ("triton", {"v2": '{"name":"triton","version":"2.60.0"}'}, ("2.60.0", None)),
            ("dynamo", {"v1_models": '{"data":[{"id":"m"}]}'}, (None, "m")),
            ("dynamo", {"v1_models": '{"data":[{"id":"m"},{"id":"other"}]}'}, (None, None)),
        ],
    )
    def test_other_engines(self, engine: str, pages: dict[str, str], expected: tuple[str | None, str | None]) -> None:
        """Each engine tells what it can; a front end of several models has no one model."""
        found = answers(next(table for table in TABLES if table.engine == engine), **pages)

        assert expected == (found.engine_version, found.model_served)


def test_asks_ever_more_seldom() -> None:
    """After each power of two of looks, and every 64 looks without an end."""
    assert [1, 2, 4, 8, 16, 32, 64, 128, 192, 256] == [looks for looks in range(1, 257) if is_due(looks)]
