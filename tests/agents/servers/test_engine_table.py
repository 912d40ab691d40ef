"""Tests of the facts of a server and of how they are read."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmill_agent.servers.engine_table import PageFacts, facts_of, size_fact, text_fact


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("8", 8),
        (8, 8),
        (0, None),
        ("0", None),
        (True, None),
        ("-1", None),
        ("8.0", None),
        (None, None),
        ("9" * 99, None),
    ],
)
def test_sizes(value: object, size: int | None) -> None:
    """A size is a whole number from 1 on, as a number or as text."""
    assert size == size_fact(value)


@pytest.mark.parametrize(
    ("value", "text"), [("fp8", "fp8"), ("None", None), ("auto", None), ("", None), (7, None), ("\ud800", "?")]
)
def test_texts(value: object, text: str | None) -> None:
    """A word that says nothing is none, and every text can be encoded."""
    assert text == text_fact(value)


def test_a_long_text_is_cut() -> None:
    """No page can make a message large."""
    assert 512 == len(text_fact("x" * 9999) or "")


def test_what_is_told_first_wins() -> None:
    """Facts of the page stand over those that were asked for, each by itself."""
    page = PageFacts(role="prefill", role_basis="page")
    asked = PageFacts(role="decode", role_basis="endpoint", tensor_parallel=8)

    assert PageFacts(role="prefill", role_basis="page", tensor_parallel=8) == page.over(asked)


def test_a_basis_stands_only_beside_what_it_is_the_basis_of() -> None:
    """An unknown word is no role, and says no basis."""
    told = facts_of({"role": "new", "precision": "FP8"}, role_words={"prefill": "prefill"}, basis="page")

    assert PageFacts(precision="FP8", precision_basis="page") == told


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(["role", "precision", "tensor_parallel"]), JSON))
def test_arbitrary_answers_are_facts_or_nothing(told: dict[Any, Any]) -> None:
    """Whatever a server answers, its facts are of the wire's types and can be encoded."""
    facts = facts_of(told, role_words={"prefill": "prefill"}, basis="endpoint")

    assert facts.role in (None, "prefill", "unknown")
    assert len((facts.precision or "").encode()) <= 4 * 512
    assert facts.tensor_parallel is None or facts.tensor_parallel >= 1
