"""`python -m tests.conformance`: a directory of cases goes in, and a difference does not pass."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.__main__ import main
from tests.conformance.cases import Case, read_cases
from tests.conformance.verdict import compare

GOOD: dict[str, Any] = {
    "id": "mine",
    "kind": "rates_to_cost",
    "inputs": {"price_usd_per_gpu_h": 3.6, "throughput_tok_per_s_per_gpu": 1000},
    "expected": {"cost_usd_per_million_tok": 1.0},
    "tolerance": {"relative": 1e-9},
}


def written(folder: Path, *cases: dict[str, Any], name: str = "cases.json") -> Path:
    """Write cases into a directory and return it."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({"cases": cases}), encoding="utf-8")
    return folder


def outcome(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str]]:
    """Run the program; return its status and the lines that it printed."""
    status = main([str(argument) for argument in arguments])
    return status, capsys.readouterr().out.splitlines()


def test_a_directory_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A case in a file of any `cases_*.json` runs, and its figure, kind and count are printed."""
    status, lines = outcome(capsys, written(tmp_path / "d", GOOD, name="cases_mine.json"))

    assert (0, "1 passed, 0 failed") == (status, lines[-1])
    assert ["mine", "cost_usd_per_million_tok", "1", "1", "equal"] == lines[1].split()
    assert ["rates_to_cost", "1/1"] == lines[-3].split()


def test_a_wrong_expectation_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A figure that the product does not give ends with status 1, and both figures are shown."""
    wrong = GOOD | {"expected": {"cost_usd_per_million_tok": 1.001}}
    status, lines = outcome(capsys, written(tmp_path / "d", wrong))

    assert (1, "0 passed, 1 failed") == (status, lines[-1])
    assert ["mine", "cost_usd_per_million_tok", "1.001", "1", "FAILED"] == lines[1].split()


def test_a_bill_beside_the_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file of a case is found beside it, and its money comes out to the last digit."""
    folder = written(
        tmp_path / "d",
        {
            "id": "bill",
            "kind": "billing_sequence",
            "inputs": {"files": [{"file": "bill.csv", "delivery": "append"}]},
            "expected": {"billed_by_invoice": {"I-1": "0.10"}},
            "tolerance": {"absolute": 0},
        },
    )
    (folder / "bill.csv").write_text(
        "BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,"
        "ChargePeriodEnd,ChargeCategory,InvoiceId\n"
        "0.1,0.1,USD,2026-03-01T00:00:00Z,2026-04-01T00:00:00Z,2026-03-01T10:00:00Z,2026-03-01T11:00:00Z,Usage,I-1\n",
        encoding="utf-8",
    )

    status, lines = outcome(capsys, folder)

    assert (0, "1 passed, 0 failed") == (status, lines[-1])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "phases_of_the_moon"}, "unknown kind phases_of_the_moon"),
        ({"inputs": GOOD["inputs"] | {"moon": 1}}, "inputs.moon"),
        ({"expected": {"moon": 1}}, "not computed by this kind"),
        ({"moon": 1}, "unknown field of the case"),
        ({"tolerance": {"lunar": 1}}, "tolerance.lunar"),
        ({"inputs": {"price_usd_per_gpu_h": 3.6}}, "inputs.throughput_tok_per_s_per_gpu is missing"),
    ],
)
def test_what_is_not_known_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], named: str
) -> None:
    """An unknown kind or field is named and fails its case; nothing of a case is passed over."""
    status, lines = outcome(capsys, written(tmp_path / "d", GOOD | change))

    assert (1, "0 passed, 1 failed") == (status, lines[-1])
    assert any(named in line and line.endswith("FAILED") for line in lines)


def test_one_case_for_a_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--case` runs that case alone, `--json` gives its lines as data."""
    folder = written(tmp_path / "d", GOOD, GOOD | {"id": "other", "kind": "nothing"})
    status, lines = outcome(capsys, folder, "--case", "other", "--json")
    found = json.loads("\n".join(lines))

    assert (1, 0, 1) == (status, found["passed"], found["failed"])
    assert ["unknown kind nothing"] == [line["got"] for case in found["cases"] for line in case["lines"]]


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (None, "name one that holds cases.json"),
        ("", "put {"),
        ('{"cases": []}', "put {"),
        ("[1", "cannot be read as JSON"),
        ('{"cases": [{"id": "x"}]}', "lacks kind, inputs, expected"),
        (json.dumps({"cases": [GOOD, GOOD]}), "give each a name of its own"),
    ],
)
def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, remedy: str) -> None:
    """What is no directory of cases ends with status 2 and one line that says what to do."""
    folder = tmp_path / "d"
    if content is not None:
        folder.mkdir()
    if content:
        (folder / "cases.json").write_text(content, encoding="utf-8")

    assert 2 == main([str(folder)])
    error = capsys.readouterr().err
    assert remedy in error
    assert 1 == error.count("\n")


def test_no_directory(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a directory there is status 2 and one line that says what to name."""
    assert 2 == main([])
    assert "error: no DIR: name a directory that holds cases.json or cases_*.json\n" == capsys.readouterr().err


def test_unknown_case_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that no case has ends with status 2 and the nearest one that there is."""
    assert 2 == main([str(written(tmp_path / "d", GOOD)), "--case", "min"])
    assert "mine" in capsys.readouterr().err


def test_cases_of_several_files(tmp_path: Path) -> None:
    """All files of a directory count, in the order of their names."""
    for letter in "ba":
        written(tmp_path / "d", GOOD | {"id": letter}, name=f"cases_{letter}.json")

    assert ["a", "b"] == [case.id for case in read_cases(tmp_path / "d")]


@pytest.mark.parametrize(
    ("expected", "found", "tolerance", "passed"),
    [
        ("0.10", "0.1", {"absolute": 0}, True),
        ("0.10", "0.1000001", {"absolute": 0}, False),
        (1.35603121, 1.356031214, {"relative": 1e-9}, True),
        (1.35603121, 1.35603, {"relative": 1e-9}, False),
        (None, None, {}, True),
        (None, 0.0, {}, False),
        (0.0, None, {}, False),
        ("rate_missing", frozenset({"rate_missing", "no_node_power"}), {}, True),
        ("rate_missing", frozenset({"no_node_power"}), {}, False),
        ([1.0, 2.0], [1.0, 2.0], {}, True),
        ([1.0, 2.0], [1.0], {}, False),
    ],
)
def test_agreement(expected: Any, found: Any, tolerance: dict[str, float], passed: bool) -> None:
    """Money of bills is exact, others are near; null is never 0; a reason is one of those given."""
    (line,) = compare({"figure": expected}, {"figure": found}, tolerance)

    assert passed == line[3]


def test_a_tempting_wrong_figure_must_not_come_out() -> None:
    """What a case says must never come out fails it, under whatever name it came."""
    verdicts = [line[3] for line in compare({"never": 2.09, "wrong_mean": 5.0}, {"cost": 2.09, "ratio": 2.0}, {})]

    assert [False, True] == verdicts


def test_words_that_never_come_out_are_for_a_reader() -> None:
    """A remark is no figure."""
    assert [] == list(compare({"never": "add euros and dollars", "note": "mind"}, {}, {}))


def test_a_case_keeps_its_folder(tmp_path: Path) -> None:
    """File paths of a case are relative to the directory that it was read from."""
    (case,) = read_cases(written(tmp_path / "d", GOOD))

    assert isinstance(case, Case)
    assert tmp_path / "d" == case.folder
