"""Clocks that step, a node that slept and two agents on one node, from their messages to the published marts."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.scripted import SECOND_US, ScriptedNode, ScriptedWarehouse, at, rows, server
from tokenmill_pipeline import doctor
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.build import build

WATTS = 300
TOKENS_PER_SECOND = 50
BEFORE = 90_000
END = 7200
STARTED_AT_US = at(-9000)


def watch(
    node: ScriptedNode, first: int, last: int, *, clock_error_us: int = 0, has_counter: bool = True, idle: int = 0
) -> None:
    """Send what an agent sees of a GPU of 300 W and of a server of 50 tokens a second, every ten seconds in a message.

    For `idle` seconds before `first` neither counted, as in a node that slept. The agent's integral begins at `first`.
    """
    for seconds in range(first, last, 10):
        awake = seconds - idle
        row = {
            "at_us": at(seconds),
            "energy_counter_millijoules": WATTS * 1000 * (awake + BEFORE) if has_counter else None,
            "energy_integrated_millijoules": WATTS * 1000 * (seconds - first),
            "integrated_us": (seconds - first) * SECOND_US,
        }
        node.gpu_rows([row], placements=[node.placement(0, at(seconds), "d1")], clock_error_us=clock_error_us)
        counted = {"input_tokens": TOKENS_PER_SECOND * (awake + 9000), "output_tokens": awake + 9000, "requests": 1}
        life = server(started_at_us=STARTED_AT_US)
        node.token_rows([life], [{"at_us": at(seconds), **counted}], clock_error_us=clock_error_us)


def published(tmp_path: Path, *nodes: ScriptedNode) -> dict[str, Any]:
    """Land what nodes sent, build and publish, and return joules and tokens of the whole mart."""
    warehouse = ScriptedWarehouse(tmp_path)
    for node in nodes:
        warehouse.land(node.sent)
    now = datetime.fromtimestamp(at(12 * 3600) / 1e6, UTC)
    build(warehouse.settings, warehouse.build, warehouse.fleet, BillingSettings(), now=now)
    with duckdb.connect(str(warehouse.settings.published_path), read_only=True) as connection:
        (found,) = rows(
            connection,
            "select sum(gpu_energy_joules) as joules, sum(total_tokens - output_tokens)::bigint as input, "
            "sum(output_tokens)::bigint as output from marts.hourly_tokens_per_megawatt where model = 'llama'",
        )
    return found


def totals(seconds: int) -> dict[str, Any]:
    """Return what so many seconds of work are in the mart."""
    return {"joules": pytest.approx(WATTS * seconds), "input": TOKENS_PER_SECOND * seconds, "output": seconds}


@pytest.mark.parametrize("error_seconds", [-120, 120])
@pytest.mark.parametrize("step_at", [1800, 3600, 3650])
def test_a_clock_that_steps_makes_no_token_and_no_joule(tmp_path: Path, error_seconds: int, step_at: int) -> None:
    """Two minutes forward or back, within an hour or at its edge: the marts hold what the counters rose by."""
    node = ScriptedNode()
    watch(node, 0, step_at)
    watch(node, step_at, END + 10, clock_error_us=error_seconds * SECOND_US)

    assert totals(END) == published(tmp_path, node)


@pytest.mark.parametrize("asleep", [600, 5400])
def test_a_node_that_slept_counts_nothing_for_it(tmp_path: Path, asleep: int) -> None:
    """The boot goes on and its clock counted the sleep: what counters did not count meanwhile is in no hour."""
    node = ScriptedNode()
    watch(node, 0, 1210)
    watch(node, 1200 + asleep, END + 10, idle=asleep)

    assert totals(END - asleep) == published(tmp_path, node)


def test_a_node_that_woke_with_a_wrong_clock_is_put_right(tmp_path: Path) -> None:
    """Until its clock is set, ten minutes later, it is late by the whole sleep."""
    node = ScriptedNode()
    watch(node, 0, 1210)
    watch(node, 1800, 2400, idle=600, clock_error_us=-600 * SECOND_US)
    watch(node, 2400, END + 10, idle=600)

    assert totals(END - 600) == published(tmp_path, node)


def test_two_agents_on_one_node_count_once(tmp_path: Path) -> None:
    """Both see the same counters; the mart has their rise once, and the doctor says that there are two."""
    first, second = ScriptedNode(), ScriptedNode(run_id="run-2")
    watch(first, 0, END + 10)
    watch(second, 5, END)

    assert totals(END) == published(tmp_path, first, second)

    found = doctor.examine(ScriptedWarehouse(tmp_path).settings, None, now=datetime.now(UTC))
    (seen,) = [one for one in found if one.what == "n1: agents at once"]

    assert (2, "look") == (seen.value, seen.verdict)
    assert "end all but one" in str(seen.remedy)


def test_two_agents_without_a_counter_invent_nothing(tmp_path: Path) -> None:
    """Where only the agents' own integrals tell, of which each run has one, two runs are never added up."""
    first, second = ScriptedNode(), ScriptedNode(run_id="run-2")
    watch(first, 0, END + 10, has_counter=False)
    watch(second, 5, END, has_counter=False)
    found = published(tmp_path, first, second)

    assert (TOKENS_PER_SECOND * END, END) == (found["input"], found["output"])
    assert (found["joules"] or 0) <= WATTS * END


def test_a_restarted_agent_is_not_two(tmp_path: Path) -> None:
    """One run after the other is no mistake, also where the later one's clock was set back."""
    first, second = ScriptedNode(), ScriptedNode(run_id="run-2")
    watch(first, 0, 3610)
    watch(second, 3620, END + 10, clock_error_us=-120 * SECOND_US)

    assert totals(END) == published(tmp_path, first, second)
    assert not [
        one
        for one in doctor.examine(ScriptedWarehouse(tmp_path).settings, None, now=datetime.now(UTC))
        if one.what.endswith("agents at once")
    ]
