"""Carries out cases: each in a data directory of its own, by the function of its kind."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.conformance import kinds_bills, kinds_energy, kinds_own, kinds_rates
from tests.conformance.cases import Case, CaseError, Fields
from tests.conformance.stage import Stage
from tests.conformance.verdict import Line, Result, compare
from tokenmill_agent.errors import TokenmillError

Kind = Callable[[Case, Fields, Stage], dict[str, Any]]

KINDS: Final[dict[str, Kind]] = {
    "rates_to_cost": kinds_rates.rates,
    "rates_to_cost_and_tok_s_per_mw": kinds_rates.rates,
    "provisioned_joules_per_token": kinds_rates.rates,
    "generation_ratios": kinds_rates.generation_ratios,
    "constants_version_effect": kinds_rates.constants_version,
    "published_cells_consistency": kinds_rates.published_cells,
    "ratio_of_sums": kinds_rates.ratio_of_sums,
    "null_rule": kinds_rates.null_rule,
    "no_double_energy": kinds_rates.no_double_energy,
    "additive_split": kinds_rates.additive_split,
    "identity": kinds_rates.identity,
    "rate_card_row": kinds_rates.rate_card_row,
    "trapezoid_energy": kinds_energy.trapezoid,
    "trapezoid_energy_sum": kinds_energy.trapezoid_sum,
    "coverage": kinds_energy.coverage,
    "unit_identity": kinds_energy.unit_identity,
    "counter_delta": kinds_energy.counter_delta,
    "electricity_cost_of_window": kinds_own.electricity,
    "on_prem_hour": kinds_own.on_prem_hour,
    "billing_sequence": kinds_bills.billing_sequence,
    "commitment_day": kinds_bills.commitment_day,
    "spread_to_hours": kinds_bills.spread_to_hours,
    "per_token_bill": kinds_bills.per_token_bill,
    "currency": kinds_bills.currency,
}
"""What carries out each kind of case."""


def run(cases: Sequence[Case], folder: Path, progress: Callable[[int, Case], None]) -> list[Result]:
    """Carry out the cases one after the other, each in a directory inside `folder`; `progress` is told of each."""
    results = []
    for number, case in enumerate(cases):
        progress(number, case)
        results.append(run_case(case, folder / f"{number:04}"))
    return results


def run_case(case: Case, folder: Path) -> Result:
    """Carry out one case in a directory; whatever hinders it is a line that failed and says what."""
    started = time.monotonic()
    lines = tuple(
        Line(case=case.id, kind=case.kind, figure=figure, expected=expected, got=got, passed=passed)
        for figure, expected, got, passed in _lines(case, folder)
    )
    return Result(case=case.id, kind=case.kind, seconds=time.monotonic() - started, lines=lines)


def _lines(case: Case, folder: Path) -> Iterator[tuple[str, str, str, bool]]:
    for name in case.unknown:
        yield name, "no such field", "unknown field of the case", False
    kind = KINDS.get(case.kind)
    if kind is None:
        yield "kind", "a kind that is known", f"unknown kind {case.kind}", False
        return
    inputs = case.fields()
    try:
        found = kind(case, inputs, Stage(folder=folder))
    except CaseError as error:
        yield "(case)", "a case that can be carried out", str(error), False
    except TokenmillError as error:
        yield "(run)", "no error", " ".join(str(error).split()), False
    except Exception as error:  # noqa: BLE001 - one case that breaks, or finds no row, must not hide the others
        yield "(run)", "no error", " ".join(f"{type(error).__name__}: {error}".split()), False
    else:
        for name in inputs.unread():
            yield name, "no such field", "unknown field of this kind", False
        yield from compare(case.expected, found, case.tolerance)
