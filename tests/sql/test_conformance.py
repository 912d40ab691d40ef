"""The shared conformance cases, each from public inputs to published tables, as `tests.conformance` runs them."""

from pathlib import Path

import pytest

from tests.conformance.cases import Case, read_cases
from tests.conformance.runner import run_case

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "conformance"
CASES = read_cases(FOLDER) if FOLDER.is_dir() else []
OPEN = {
    "trapezoid-window-edges": "energy between two rows is spread evenly, not along the line between two readings",
    "trapezoid-gap": "the marts have no reason sampling_gap_exceeded",
    "trapezoid-not-bracketed": "the marts have no reason window_not_bracketed",
    "electricity-64kwh": "owned hardware has no entry in a price file",
    "on-prem-straight-line": "owned hardware has no entry in a price file",
    "on-prem-crf": "owned hardware has no entry in a price file",
}
"""What the product does not give yet; a case that begins to pass must leave this list."""


@pytest.mark.skipif(not CASES, reason="the conformance cases are not beside the repository")
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.id, marks=[pytest.mark.xfail(reason=OPEN[case.id])] if case.id in OPEN else [])
        for case in CASES
    ],
)
def test_a_case_gives_what_it_must(case: Case, tmp_path: Path) -> None:
    """Each case's expected figures come out of the published tables, within its tolerance."""
    result = run_case(case, tmp_path)

    assert [] == [line for line in result.lines if not line.passed]
    assert result.lines


@pytest.mark.skipif(not CASES, reason="the conformance cases are not beside the repository")
def test_what_is_open_is_the_name_of_a_case() -> None:
    """A name that no case has would hide nothing and mean nothing."""
    assert set() == OPEN.keys() - {case.id for case in CASES}
