"""Tests of the tables of counters themselves."""

import typing

import pytest

from tokenmill_agent.servers.engines import CORE_FIELDS, TABLES, EngineTable, Field, spellings, wanted_names

FIELDS = {field for group in typing.get_args(Field) for field in typing.get_args(group)}

LOOK_ALIKES = (
    "_created",
    "_bucket",
    "iteration_tokens",
    "per_pos",
    "by_source",
    "request_prompt_tokens",
    "request_generation_tokens",
)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.engine} {table.versions}")
class TestTables:
    """Each table by itself."""

    def test_counts_the_core(self, table: EngineTable) -> None:
        """Every engine has a counter for input and for output."""
        assert set(CORE_FIELDS) <= set(table.counters)

    def test_knows_its_fields(self, table: EngineTable) -> None:
        """Every field is one of the wire."""
        assert set(table.counters) <= FIELDS

    def test_counts_no_look_alike(self, table: EngineTable) -> None:
        """No name that only looks like a counter of served tokens is counted."""
        counted = [name for names in table.counters.values() for name in names]

        assert [] == [name for name in counted for wrong in LOOK_ALIKES if wrong in name]

    def test_can_be_chosen(self, table: EngineTable) -> None:
        """The names by which a page is recognised are looked for on every page, and do not contradict each other."""
        assert set(table.shown_by) <= set(wanted_names().values())
        assert not set(table.shown_by) & set(table.absent)


def test_a_colon_may_become_an_underscore() -> None:
    """Both spellings of a name are wanted, under the one that the tables use."""
    assert ("vllm:prompt_tokens_total", "vllm_prompt_tokens_total") == spellings("vllm:prompt_tokens_total")
    assert "vllm:prompt_tokens_total" == wanted_names()["vllm_prompt_tokens_total"]
