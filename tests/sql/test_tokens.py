"""What a server's counters say of each hour: every token once, none invented, what is unknown said."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scripted import SECOND_US, ScriptedNode, ScriptedWarehouse, at, rows, server

LATER = 12 * 3600


def look(seconds: float, count: int, **more: Any) -> dict[str, Any]:
    """Return one look at a server that has taken `count` input tokens and given a tenth of it."""
    return {"at_us": at(seconds), "input_tokens": count, "output_tokens": count // 10, "requests": 1, **more}


def place(node: ScriptedNode, seconds: float, deployment: str | None = "d1") -> None:
    """Send one sighting of the node's first GPU, with a reading."""
    node.gpu_rows(
        [{"at_us": at(seconds), "energy_counter_millijoules": round(300_000 * (seconds + 90_000))}],
        placements=[node.placement(0, at(seconds), deployment)],
    )


def tokens_by_hour(warehouse: ScriptedWarehouse, seconds: float = LATER) -> dict[int, tuple[int | None, int | None]]:
    """Return input and output tokens of every hour, by its distance from the script's first hour."""
    with warehouse.measured(seconds) as connection:
        found = rows(
            connection,
            "select hour_at, sum(input_tokens)::bigint as i, sum(output_tokens)::bigint as o "
            "from hourly.unit_tokens group by all order by all",
        )
    first = at(0) // SECOND_US
    return {(round(row["hour_at"].timestamp()) - first) // 3600: (row["i"], row["o"]) for row in found}


def reasons(warehouse: ScriptedWarehouse, seconds: float = LATER) -> set[str]:
    """Return every reason that any hour's tokens carry."""
    with warehouse.measured(seconds) as connection:
        return {row["reason"] for row in rows(connection, "select unnest(reasons) as reason from hourly.unit_tokens")}


class TestLives:
    """Lives of a server's process."""

    def test_first_look_at_an_old_process_is_a_baseline(self, tmp_path: Path) -> None:
        """What a server counted before its node was ever watched belongs to nobody's hour."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        life = server(started_at_us=at(-9000))
        node.token_rows([life], [look(s, 5000 + s) for s in range(0, 1000, 10)])
        warehouse.land(node.sent)

        assert {0: (990, 99)} == tokens_by_hour(warehouse)
        assert "first_value_is_baseline" in reasons(warehouse)

    def test_process_that_began_under_watch_counts_from_zero(self, tmp_path: Path) -> None:
        """The first value of a process that is younger than the watch is all its own."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        place(node, 0)
        node.token_rows([server(started_at_us=at(20))], [look(100, 700), look(110, 900)])
        warehouse.land(node.sent)

        assert {0: (900, 90)} == tokens_by_hour(warehouse)

    def test_process_that_ran_long_before_its_first_look_keeps_its_tokens(self, tmp_path: Path) -> None:
        """What a new process counted in slots before anybody saw it is in the hours in which it ran."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        place(node, 0)
        node.token_rows([server(started_at_us=at(3000))], [look(4200, 1200), look(4210, 1210)])
        warehouse.land(node.sent)

        assert {0: (600, 60), 1: (610, 61)} == tokens_by_hour(warehouse)

    def test_model_that_is_named_late_is_the_model_of_the_whole_life(self, tmp_path: Path) -> None:
        """A busy server that tells its model only at the third look served it before, too."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        for seconds, model in ((0, None), (400, None), (800, "llama")):
            life = server(started_at_us=at(-9000), model_served=model)
            node.token_rows([life], [look(seconds, 10 * seconds)])
        warehouse.land(node.sent)
        with warehouse.measured(LATER) as connection:
            found = rows(connection, "select model_served, input_tokens from hourly.unit_tokens")

        assert [{"model_served": "llama", "input_tokens": 8000}] == found

    def test_restart_adds_the_new_value(self, tmp_path: Path) -> None:
        """After a kill the new process counts from zero, and nothing is invented for what died with the old one."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        old, new = server(started_at_us=at(-9000)), server(started_at_us=at(500))
        node.token_rows([old], [look(s, 10 * s) for s in range(0, 400, 10)])
        node.token_rows([new], [look(s, 3 * (s - 500)) for s in range(510, 1000, 10)])
        warehouse.land(node.sent)

        assert {0: (3900 + 1470, 390 + 147)} == tokens_by_hour(warehouse)

    def test_fall_inside_one_process_is_set_aside(self, tmp_path: Path) -> None:
        """A counter that falls while its process lives takes no token back and adds none."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        life = server(started_at_us=at(-9000))
        node.token_rows([life], [look(0, 5000), look(10, 5100), look(20, 300), look(30, 400)])
        warehouse.land(node.sent)

        assert {0: (200, 20)} == tokens_by_hour(warehouse)
        assert "counter_fell_in_process" in reasons(warehouse)

    def test_impossible_jump_is_set_aside_and_counted(self, tmp_path: Path) -> None:
        """More tokens than a GPU can give are shown apart, not in the hour."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        life = server(started_at_us=at(-9000))
        node.token_rows([life], [look(0, 0), look(10, 100), look(20, 10**12), look(30, 10**12 + 100)])
        warehouse.land(node.sent)
        with warehouse.measured(LATER) as connection:
            found = rows(connection, "select input_tokens as i, set_aside_tokens as s from hourly.unit_tokens")[0]

        assert {"i": 200, "s": 10**12 - 100 + (10**12 - 100) // 10} == found

    def test_gap_over_hours_keeps_every_token(self, tmp_path: Path) -> None:
        """While the agent is away the server counts on; its hours share the rise by their time."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        life = server(started_at_us=at(-9000))
        node.token_rows([life], [look(0, 0), look(1800, 18_000)])
        node.token_rows([life], [look(1800 + 7200, 90_000)])
        warehouse.land(node.sent)

        assert {0: (36_000, 3600), 1: (36_000, 3600), 2: (18_000, 1800)} == tokens_by_hour(warehouse)


class TestAbsence:
    """Counters that are not there."""

    def test_counter_that_appears_counts_in_full(self, tmp_path: Path) -> None:
        """A counter that its process shows only on first use had counted nothing before."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        life = server(started_at_us=at(-9000))
        absent = {"at_us": at(0), "output_tokens": 0, "reason": "series_absent"}
        node.token_rows([life], [absent, look(10, 640), look(20, 700)])
        warehouse.land(node.sent)

        assert {0: (700, 70)} == tokens_by_hour(warehouse)

    def test_page_that_lost_a_line_does_not_count_twice(self, tmp_path: Path) -> None:
        """A counter missing from one page, also the first of an hour, goes on where it was."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        life = server(started_at_us=at(-9000))
        torn = {"at_us": at(3600), "reason": "series_absent"}
        node.token_rows([life], [look(3580, 500), look(3590, 510), torn, look(3610, 530), look(3620, 540)])
        warehouse.land(node.sent)

        assert 40 == sum(found[0] or 0 for found in tokens_by_hour(warehouse).values())

    def test_failed_scrape_is_unknown_not_zero(self, tmp_path: Path) -> None:
        """A server that never answered has no tokens, and the hour says why."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        place(node, 0)
        node.token_rows([server()], [{"at_us": at(s), "reason": "scrape_failed"} for s in (0, 10, 20)])
        warehouse.land(node.sent)

        assert {0: (None, None)} == tokens_by_hour(warehouse)
        assert "scrape_failed" in reasons(warehouse)

    def test_value_that_is_no_count_is_not_an_absent_counter(self, tmp_path: Path) -> None:
        """A page that gave no number at the first look does not make the next value count in full."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        life = server(started_at_us=at(-9000))
        broken = {"at_us": at(0), "reason": "invalid_value"}
        node.token_rows([life], [broken, look(10, 5000), look(20, 5100)])
        warehouse.land(node.sent)

        assert {0: (100, 10)} == tokens_by_hour(warehouse)
        assert "invalid_value" in reasons(warehouse)

    def test_cached_input_is_part_of_the_input(self, tmp_path: Path) -> None:
        """An engine that counts only what it evaluated gets its cached tokens added."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        life = server(started_at_us=at(-9000), engine="llama.cpp", input_includes_cached=False)
        node.token_rows([life], [look(0, 0, cached_input_tokens=0), look(10, 300, cached_input_tokens=700)])
        warehouse.land(node.sent)

        assert {0: (1000, 30)} == tokens_by_hour(warehouse)


class TestRoles:
    """Which tokens of which server count."""

    @pytest.mark.parametrize(
        ("role", "expected"),
        [
            ("aggregated", (100, 10)),
            ("prefill", (100, None)),
            ("decode", (None, 10)),
            ("unknown", (None, None)),
        ],
    )
    def test_role_decides_which_side_counts(
        self, tmp_path: Path, role: str, expected: tuple[int | None, int | None]
    ) -> None:
        """Input comes from where prompts are read, output from where text is written; an unknown role gives neither."""
        node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
        life = server(started_at_us=at(-9000), role=role)
        node.token_rows([life], [look(0, 0), look(10, 100)])
        warehouse.land(node.sent)

        assert {0: expected} == tokens_by_hour(warehouse)


@pytest.mark.parametrize("error_seconds", [-120, 120])
@pytest.mark.parametrize("step_at", [1800, 3600, 3650])
def test_clock_step_creates_no_token(tmp_path: Path, error_seconds: int, step_at: int) -> None:
    """A clock that steps by two minutes leaves the number of tokens as it was."""
    node, warehouse = ScriptedNode(), ScriptedWarehouse(tmp_path)
    life = server(started_at_us=at(-9000))
    for seconds in range(0, 7210, 10):
        error = error_seconds * SECOND_US if seconds >= step_at else 0
        node.token_rows([life], [look(seconds, 50 * seconds)], clock_error_us=error)
    warehouse.land(node.sent)

    assert 50 * 7200 == sum(found[0] or 0 for found in tokens_by_hour(warehouse).values())


@st.composite
def counters(draw: st.DrawFn) -> tuple[list[tuple[int, int, int]], int]:
    """Return looks (second, life, value) of a server that restarts now and then, and a seed to shuffle with."""
    looks, seconds, life, value = [(0, 0, 0)], 0, 0, 0
    for step, rise, restart in draw(
        st.lists(
            st.tuples(st.sampled_from([1, 10, 10, 60, 2000]), st.integers(0, 5000), st.integers(0, 6)),
            min_size=1,
            max_size=30,
        )
    ):
        seconds += step
        if restart == 0:
            life, value = life + 1, 0
        value += rise
        looks.append((seconds, life, value))
    return looks, draw(st.integers(0, 2**16))


@given(history=counters())
@settings(max_examples=20, deadline=None)
def test_tokens_in_the_hours_are_the_increase_of_every_life(
    tmp_path_factory: pytest.TempPathFactory, history: tuple[list[tuple[int, int, int]], int]
) -> None:
    """In any order, with copies, gaps and restarts: the hours hold what a reader who misses nothing counts."""
    looks, seed = history
    shuffled = random.Random(seed)  # noqa: S311 - a reproducible order, no secret
    node = ScriptedNode()
    last: dict[int, int] = {}
    started = {0: at(-9000)}
    for index, (seconds, life, value) in enumerate(looks):
        # A new process starts between the look before and the first look at it.
        started.setdefault(life, (at(seconds) + at(looks[index - 1][0])) // 2)
        node.token_rows([server(started_at_us=started[life])], [look(seconds, value)])
        last[life] = value
    messages = [*node.sent, *shuffled.sample(node.sent, k=len(node.sent) // 2)]
    shuffled.shuffle(messages)
    warehouse = ScriptedWarehouse(tmp_path_factory.mktemp("tokens"))
    for part in range(2):
        warehouse.land(messages[part::2])
        found = tokens_by_hour(warehouse, looks[-1][0] + LATER)

    assert sum(last.values()) == sum(tokens[0] or 0 for tokens in found.values())
