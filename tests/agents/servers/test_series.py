"""Tests of which samples of a name count."""

from hypothesis import given
from hypothesis import strategies as st

from tokenmill_agent.servers.engines import TABLES
from tokenmill_agent.servers.exposition import Sample
from tokenmill_agent.servers.series import counting, once, ranks_of

SGLANG = next(table for table in TABLES if table.engine == "sglang")
NAME = "sglang:num_running_reqs"


def sample(value: str, **labels: str) -> Sample:
    """Return a sample of the gauge."""
    return Sample(name=NAME, labels=tuple(sorted(labels.items())), value=value)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=9))
def test_copies_of_a_series_give_the_largest(copies: list[int]) -> None:
    """However often and in which order a series stands on a page, it counts once."""
    assert {NAME: {(): str(max(copies))}} == once([sample(str(copy)) for copy in copies])


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_one_leader_counts(ranks: set[tuple[int, int]]) -> None:
    """Of all ranks of a scheduler the lowest stage's lowest rank counts, compared as numbers."""
    samples = [sample(f"{pp}{tp}", tp_rank=str(tp), pp_rank=str(pp)) for pp, tp in ranks]

    (kept,) = counting(once(samples), SGLANG)[NAME].values()

    assert "{}{}".format(*min(ranks)) == kept


def test_labels_that_are_no_numbers_come_last() -> None:
    """A rank that cannot be read never leads one that can; none at all is the first."""
    assert (0, 7, 10**9) == ranks_of((("b", "7"), ("c", "x")), ("a", "b", "c"))
