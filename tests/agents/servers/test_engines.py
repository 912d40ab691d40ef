"""Tests of the tables of counters themselves."""

import typing
from pathlib import Path

import pytest

from tokenmill_agent.servers.engine_table import Refusal
from tokenmill_agent.servers.engines import (
    CORE_FIELDS,
    METRICS_PATHS,
    REFUSALS,
    TABLES,
    EngineTable,
    Field,
    spellings,
    wanted_names,
)

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


def test_every_counter_of_tokens_is_in_the_readme() -> None:
    """Whoever asks what is counted of an engine finds the names in the agent's README."""
    readme = (Path(__file__).parents[3] / "agents" / "README.md").read_text(encoding="utf-8")
    fields: tuple[Field, ...] = ("input_tokens", "cached_input_tokens", "output_tokens")
    names = [name for table in TABLES for field in fields for name in table.counters.get(field, ())]

    assert [] == [name for name in names if f"`{name}`" not in readme]


def test_a_server_of_an_unknown_engine_is_not_asked_for_the_destructive_page_first() -> None:
    """What trtllm-serve gives at `/metrics` is gone for others: its other page is asked for before."""
    assert ("/prometheus/metrics", "/metrics") == METRICS_PATHS


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.why)
def test_refusals_are_looked_for(refusal: Refusal) -> None:
    """The names of a refused page are wanted, and do not contradict each other."""
    assert {*refusal.shown_by, *refusal.absent} <= set(wanted_names().values())
    assert not set(refusal.shown_by) & set(refusal.absent)
