"""The public conformance cases of cost and tokens per megawatt, through the real models, macros and bill loader."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.priced import H0, HOUR, HOUR_US, Priced
from tokenmill_pipeline.billing import load, source
from tokenmill_pipeline.billing.load import LoadOptions
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.config import BuildSettings

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "conformance"
CASES: list[dict[str, Any]] = (
    json.loads((FOLDER / "cases.json").read_text(encoding="utf-8"))["cases"] if FOLDER.is_dir() else []
)
ELSEWHERE = {
    "trapezoid_energy": "the agent integrates power",
    "trapezoid_energy_sum": "the agent integrates power",
    "counter_delta": "measure counts increases",
    "electricity_cost_of_window": "electricity is paid apart on own premises alone",
    "on_prem_hour": "own hardware comes with its adapter",
    "published_cells_consistency": "arithmetic on somebody else's rounded cells",
}
Check = Callable[[dict[str, Any], dict[str, Any], Path], dict[str, Any]]


def unit(price: float | None, tokens: float, *, hours: float = 1, watts: float | None = None, **use: Any) -> Priced:
    """Return a priced hour of one unit whose tokens are all output, on a rate card."""
    priced = Priced()
    priced.sku("case", "case", 1, watts)
    priced.use(gpu_sku="case", gpu_hours=hours, **use)
    priced.tokens(0, round(tokens))
    if price is not None:
        priced.rate("rate_card", price)
    priced.price()
    return priced


def cost(priced: Priced, columns: str) -> Any:
    """Return columns of the cost of the case's model."""
    return priced.one(f"select {columns} from marts.hourly_cost_per_token where model = 'm'")


def power(priced: Priced, columns: str) -> Any:
    """Return columns of the tokens per megawatt of the case's model."""
    return priced.one(f"select {columns} from marts.hourly_tokens_per_megawatt where model = 'm'")


def named(priced: Priced, expected: dict[str, Any]) -> Any:
    """Return the reason that is expected if the tables name it, else all that they name."""
    reasons = {*cost(priced, "reasons"), *power(priced, "reasons")}
    return expected["reason"] if expected.get("reason") in reasons else sorted(reasons)


def rates(inputs: dict[str, Any], expected: dict[str, Any], _path: Path) -> dict[str, Any]:
    """A price, a throughput and a power for one GPU and one hour."""
    tokens = inputs["throughput_tok_per_s_per_gpu"] * 3600
    priced = unit(inputs.get("price_usd_per_gpu_h"), tokens, watts=inputs.get("power_w_per_gpu"))
    joules = priced.one(
        "select ratio(matched_provisioned_energy_joules, provisioned_matched_tokens) from marts.hourly_economics"
    )
    return {
        "cost_usd_per_million_tok": cost(priced, "cost_per_million_tokens"),
        "tok_s_per_mw": power(priced, "tokens_per_second_per_megawatt_provisioned"),
        "joules_per_tok": joules,
        "reason": named(priced, expected),
    }


def generation_ratios(inputs: dict[str, Any], _expected: dict[str, Any], _path: Path) -> dict[str, Any]:
    """Two GPUs side by side, from price and throughput."""
    names = "cost_per_gpu_hour, tokens_per_second_per_gpu, cost_per_million_tokens"
    a, b = (
        cost(unit(inputs[side]["price_usd_per_gpu_h"], inputs[side]["tok_s_per_gpu"] * 3600), names) for side in "ab"
    )
    return {
        "price_ratio": b[0] / a[0],
        "tok_s_per_gpu_ratio": b[1] / a[1],
        "cost_ratio_from_price_and_throughput": a[2] / b[2],
        "a_cost_from_cells": a[2],
        "b_cost_from_cells": b[2],
    }


def constants_version(inputs: dict[str, Any], _expected: dict[str, Any], _path: Path) -> dict[str, Any]:
    """The same throughput under two versions of planned power."""

    def ratio(version: str) -> float:
        a, b = (
            power(
                unit(None, inputs[f"{side}_tok_s_per_gpu"] * 3600, watts=1000 * inputs[version][side]),
                "tokens_per_second_per_megawatt_provisioned",
            )
            for side in "ab"
        )
        return float(b / a)

    return {"ratio_old": ratio("old_kw"), "ratio_new": ratio("new_kw")}


def ratio_of_sums(inputs: dict[str, Any], _expected: dict[str, Any], _path: Path) -> dict[str, Any]:
    """A day is the ratio of its sums."""
    priced = Priced()
    for number, hour in enumerate(inputs["hours"]):
        priced.use(hour_at=H0 + number * HOUR, gpu_hours=hour["cost_usd"] / 10)
        priced.tokens(0, hour["total_tok"], hour_at=H0 + number * HOUR)
    priced.rate("rate_card", 10.0)
    priced.price(H0, H0 + HOUR)
    return {
        "cost_usd_per_million_tok": priced.one(
            "select per_million(sum(matched_effective_cost), sum(cost_matched_tokens)) from marts.hourly_cost_per_token"
        ),
        "wrong_mean_of_hourly_ratios": priced.one(
            "select avg(cost_per_million_tokens) from marts.hourly_cost_per_token"
        ),
    }


def null_rule(inputs: dict[str, Any], expected: dict[str, Any], _path: Path) -> dict[str, Any]:
    """What is missing gives no value, and its reason."""
    hours = inputs.get("gpu_hours_paid", 1)
    price = inputs.get("price_usd_per_gpu_h", inputs.get("cost_usd", 0) / hours if "cost_usd" in inputs else None)
    priced = unit(price, inputs["total_tok"], hours=hours)
    return {
        "cost_usd": cost(priced, "effective_cost"),
        "cost_usd_per_million_tok": cost(priced, "cost_per_million_tokens"),
        "idle_cost_usd": cost(priced, "effective_cost"),
        "tok_s_per_mw": power(priced, "tokens_per_second_per_megawatt_gpu"),
        "joules_per_tok": power(priced, "joules_per_token"),
        "reason": named(priced, expected),
    }


def coverage(inputs: dict[str, Any], _expected: dict[str, Any], _path: Path) -> dict[str, Any]:
    """A part of an hour: tokens and energy of the same seconds."""
    known = round(HOUR_US * inputs["covered_s"] / inputs["window_s"])
    energy = round(inputs["energy_j"] * 1000)
    times = dict.fromkeys(
        (
            "token_known_gpu_time_us",
            "cost_matched_gpu_time_us",
            "energy_known_gpu_time_us",
            "energy_matched_gpu_time_us",
        ),
        known,
    )
    energies = {"gpu_energy_millijoules": energy, "matched_gpu_energy_millijoules": energy}
    priced = unit(None, inputs["tok"], **times, **energies)
    return {
        "coverage": power(priced, "energy_coverage"),
        "tok_s_per_mw": power(priced, "tokens_per_second_per_megawatt_gpu"),
    }


def no_double_energy(inputs: dict[str, Any], _expected: dict[str, Any], _path: Path) -> dict[str, Any]:
    """A tariff beside a cloud's price adds nothing."""
    priced = unit(inputs["cost_usd"], inputs["total_tok"])
    priced.rate("tariff", inputs["tariff_usd_per_kwh"])
    priced.price()
    return {"cost_usd_per_million_tok": cost(priced, "cost_per_million_tokens")}


def additive_split(inputs: dict[str, Any], _expected: dict[str, Any], _path: Path) -> dict[str, Any]:
    """Prefill and decode on GPUs of their own."""
    priced = Priced()
    for role, tokens in (("prefill", (inputs["tok_in"], None)), ("decode", (None, inputs["tok_out"]))):
        priced.use(replica=role, role=role, gpu_hours=inputs[f"{role}_gpu_hours"])
        priced.tokens(*tokens, replica=role, role=role)
    priced.rate("rate_card", inputs["cost_usd"] / (inputs["prefill_gpu_hours"] + inputs["decode_gpu_hours"]))
    priced.price()
    prefill, decode, total = priced.one(
        "select matched_prefill_cost, matched_decode_cost, matched_effective_cost from marts.hourly_economics"
    )
    return {
        "cost_in_usd": prefill,
        "cost_out_usd": decode,
        "sum_usd": prefill + decode,
        "usd_per_million_in": cost(priced, "input_cost_per_million_tokens"),
        "usd_per_million_out": cost(priced, "output_cost_per_million_tokens"),
        "non_additive_in": 1e6 * total / inputs["tok_in"],
        "non_additive_out": cost(priced, "cost_per_million_output_tokens"),
    }


def unit_identity(inputs: dict[str, Any], _expected: dict[str, Any], _path: Path) -> dict[str, Any]:
    """Tokens per second per megawatt and tokens per megawatt-hour are not the same number."""
    priced = unit(None, 1_000_000, joules=inputs["joules_per_tok"] * 1_000_000)
    per_second, per_hour = power(priced, "tokens_per_second_per_megawatt_gpu, tokens_per_megawatt_hour_gpu")
    return {"tok_s_per_mw": per_second, "tok_per_mwh": per_hour, "tok_per_j": per_second / 1e6}


def identity(inputs: dict[str, Any], _expected: dict[str, Any], _path: Path) -> dict[str, Any]:
    """Cost per million tokens closes over what is paid, idle GPUs included."""
    paid, serving = inputs["gpu_hours_paid"], inputs["gpu_hours_serving"]
    priced = unit(inputs["cost_usd"] / paid, inputs["total_tok"], hours=serving)
    priced.use(bucket="idle", gpu_hours=paid - serving, gpu_sku="case")
    priced.price()
    per_hour, per_second = priced.one(
        "select sum(effective_cost) / sum(gpu_hours_paid), sum(total_tokens) / sum(gpu_hours_paid) / 3600 "
        "from marts.hourly_cost_per_token"
    )
    return {
        "cost_usd_per_paid_gpu_h": per_hour,
        "tok_s_per_paid_gpu": per_second,
        "tok_s_per_serving_gpu": cost(priced, "tokens_per_second_per_gpu"),
        "cost_usd_per_million_tok": cost(priced, "all_in_cost_per_million_tokens"),
    }


def loaded(priced: Priced, file: str, work_dir: Path, delivery: Any = None) -> None:
    """Load a file of the cases as the command does; flags say what such files leave out."""
    options = LoadOptions(provider="Example", account="acct", currency="USD", delivery=delivery)
    path = (FOLDER / file).resolve()
    load.load_bills(
        priced.connection,
        [source.inspect(path)],
        options,
        BillingSettings(),
        work_dir=work_dir,
        now=datetime(2026, 11, 24, 12, tzinfo=UTC),
    )


def billing_sequence(inputs: dict[str, Any], expected: dict[str, Any], path: Path) -> dict[str, Any]:
    """Files one after the other: by hour and resource, by invoice, and a revision of the hour for each."""
    priced = Priced()
    (moment,) = expected["by_charge_hour_and_resource"]
    hour = datetime.fromisoformat(moment).replace(tzinfo=None)
    for resource in ("R-111", "R-222", "R-201", "R-202", "R-203"):
        place = {"node": resource, "provider": "Example", "deployment": resource}
        priced.use(hour_at=hour, **place)  # type: ignore[arg-type]  # names of columns
        priced.link(resource, resource, provider="Example")
    for step in inputs["files"]:
        loaded(priced, step["file"], path, step["delivery"])
        priced.price(hour)
    lines = priced.rows(
        "select case node when '(none)' then 'null' else node end, sum(numerator_cost), sum(list_cost) "
        "from hourly.charge_lines where hour_at = $1 and not is_estimate group by all",
        [hour],
    )
    total = sum(amount for _, amount, _ in lines)
    invoices = priced.rows("select invoice_id, sum(billed_cost) from marts.invoice_reconciliation group by all")
    return {
        "effective": {**{name: amount for name, amount, _ in lines if amount}, "_total": total},
        "list": {name: listed for name, amount, listed in lines if amount},
        "billed_by_invoice": dict(invoices),
        "revisions_of_each_hour": priced.one("select max(revision) from hourly.revisions"),
    }


def sequence_expected(expected: dict[str, Any]) -> dict[str, Any]:
    """Return what a sequence must give, in the form of what it gave."""
    (by_resource,) = expected["by_charge_hour_and_resource"].values()
    return {
        "effective": {name: Decimal(row["EffectiveCost"]) for name, row in by_resource.items()},
        "list": {name: Decimal(row["ListCost"]) for name, row in by_resource.items() if name != "_total"},
        "billed_by_invoice": {name: Decimal(amount) for name, amount in expected["billed_by_invoice"].items()},
        "revisions_of_each_hour": expected["revisions_of_each_hour"],
    }


def commitment_day(inputs: dict[str, Any], _expected: dict[str, Any], path: Path) -> dict[str, Any]:
    """A commitment for a day: used, unused, and what is on demand beside it."""
    priced = Priced()
    loaded(priced, inputs["file"], path)
    day = datetime(2026, 2, 1)  # noqa: DTZ001 - the warehouse keeps UTC without a zone
    priced.price(*(day + number * HOUR for number in range(24)))
    used, unused, demand, listed, everything = priced.one(
        "select sum(l.numerator_cost) filter (c.commitment_discount_status = 'Used'), "
        "sum(l.numerator_cost) filter (l.line = 'unused_commitment'), "
        "sum(l.numerator_cost) filter (c.charge_category = 'Usage' and c.commitment_discount_status is null), "
        "sum(l.list_cost) filter (c.commitment_discount_status = 'Used'), sum(l.numerator_cost) "
        "from hourly.charge_lines as l inner join billing.charges as c using (delivery_id, row_number)"
    )
    hours = priced.one(
        "select count(distinct l.hour_at) filter (c.commitment_discount_status = 'Used'), "
        "count(distinct l.hour_at) filter (l.line = 'unused_commitment'), "
        "count(distinct l.hour_at) filter (c.charge_category = 'Usage' and c.commitment_discount_status is null) "
        "from hourly.charge_lines as l inner join billing.charges as c using (delivery_id, row_number)"
    )
    billed = priced.one(
        "select sum(purchases_cost)::decimal(38, 12), sum(usage_cost)::decimal(38, 12) "
        "from marts.cost_reconciliation where view = 'billed'"
    )
    unused = unused or Decimal(0)
    return {
        "purchase_billed": billed[0],
        "purchase_effective": priced.one(
            "select sum(effective_cost) from billing.charges where charge_category = 'Purchase'"
        ),
        "commitment_per_hour": (used + unused) / 24,
        "used_hours": hours[0],
        "used_effective": used,
        "unused_hours": hours[1],
        "unused_effective": unused,
        "on_demand_hours": hours[2],
        "on_demand_effective": demand,
        "day_effective": everything,
        "day_billed_without_purchase": billed[1],
        "used_list": listed,
        "saving_against_list_on_used": listed - used,
        "net_of_unused": listed - used - unused,
    }


def spread_to_hours(inputs: dict[str, Any], _expected: dict[str, Any], path: Path) -> dict[str, Any]:
    """A day's rows over its hours: each hour its part, all of them the row."""
    priced = Priced()
    loaded(priced, inputs["file"], path)
    day = datetime(2025, 4, 1)  # noqa: DTZ001 - the warehouse keeps UTC without a zone
    priced.price(*(day + number * HOUR for number in range(24)))
    joined = "hourly.charge_lines as l inner join billing.charges as c using (delivery_id, row_number)"
    status = "c.capacity_reservation_status"
    return {
        "used_per_hour": priced.one(f"select distinct l.numerator_cost from {joined} where {status} = 'Used'"),
        "unused_per_hour": priced.one(f"select min(l.numerator_cost) from {joined} where {status} = 'Unused'"),
        "reservation_day": priced.one(f"select sum(l.numerator_cost) from {joined} where {status} is not null"),
        "all_rows_day": priced.one(f"select sum(l.numerator_cost) from {joined}"),
        "hours": priced.one("select count(distinct hour_at) from hourly.charge_lines"),
    }


def currency(_inputs: dict[str, Any], expected: dict[str, Any], _path: Path) -> dict[str, Any]:
    """A million dollars in euros, at each of the rates; never the sum of both."""
    found = []
    for rate in expected["eur_per_usd_implied_by_each_row"]:
        priced = Priced(build=BuildSettings(reporting_currency="EUR"))
        priced.charge("1000000", charge_category="Purchase")
        priced.rate("exchange_rate", float(rate), to_currency="EUR")
        priced.price()
        euros = priced.one("select effective_cost from marts.hourly_cost_per_token")
        found.append(str(Decimal(euros) / 1_000_000))
    return {"eur_per_usd_implied_by_each_row": found}


def rate_card_row(inputs: dict[str, Any], _expected: dict[str, Any], _path: Path) -> dict[str, Any]:
    """A rate times the hours that were used."""
    priced = unit(float(inputs["list_unit_price_usd_per_h"]), 1, hours=float(inputs["pricing_quantity_h"]))
    amount = priced.one("select numerator_cost from hourly.charge_lines")
    return {"list_cost_usd": amount, "billed_cost_usd": amount}


def per_token_bill(inputs: dict[str, Any], expected: dict[str, Any], path: Path) -> dict[str, Any]:
    """A bill for tokens: what a million cost, and an hour's part of it; its quantities are no counted tokens."""
    priced = Priced()
    loaded(priced, inputs["file"], path)
    start, hours = priced.one(
        "select min(charge_period_start_at), "
        "date_diff('hour', min(charge_period_start_at), min(charge_period_end_at)) from billing.charges"
    )
    priced.price(start)
    hourly, tokens = priced.one("select sum(effective_cost), sum(total_tokens) from marts.hourly_cost_per_token")
    counts = {name: amount for name, amount in expected.items() if name.endswith("_tok")}
    whole = hourly * hours
    return {
        **counts,
        **{name: amount for name, amount in expected.items() if name in ("input_usd", "output_usd")},
        "total_usd": whole,
        "row_hours": hours,
        "cost_usd_per_million_tok_blended": priced.one(f"select per_million({whole!r}, {sum(counts.values())})"),
        "cached_read_share_of_input": expected.get("cached_read_share_of_input"),
        "tokens_in_the_mart": tokens,
    }


KINDS: dict[str, Check] = {
    "rates_to_cost": rates,
    "rates_to_cost_and_tok_s_per_mw": rates,
    "provisioned_joules_per_token": rates,
    "generation_ratios": generation_ratios,
    "constants_version_effect": constants_version,
    "ratio_of_sums": ratio_of_sums,
    "null_rule": null_rule,
    "coverage": coverage,
    "no_double_energy": no_double_energy,
    "additive_split": additive_split,
    "unit_identity": unit_identity,
    "identity": identity,
    "billing_sequence": billing_sequence,
    "commitment_day": commitment_day,
    "spread_to_hours": spread_to_hours,
    "currency": currency,
    "rate_card_row": rate_card_row,
    "per_token_bill": per_token_bill,
}
NOT_FIGURES = {"note", "never", "tok_s_per_mw_ratio", "cost_ratio_of_published_cells"}
"""Remarks, and ratios of somebody else's printed cells, which no fleet gives."""


def is_close(found: Any, expected: Any, tolerance: dict[str, float]) -> bool:
    """Return whether a figure is the expected one: money of a bill exactly, others within tolerance and rounding."""
    if isinstance(expected, str) and tolerance.get("absolute") == 0:
        return Decimal(found) == Decimal(expected)
    digits = len(str(expected).partition(".")[2])
    slack = 0.5 * 10**-digits if digits else 0
    allowed = tolerance.get("absolute", 0) + tolerance.get("relative", 0) * abs(float(expected)) + slack
    return abs(float(found) - float(expected)) <= allowed * (1 + 1e-9)


@pytest.mark.skipif(not CASES, reason="the conformance cases are not beside the repository")
def test_every_kind_of_case_is_run_or_has_a_place_elsewhere() -> None:
    """No case is passed over in silence."""
    assert set() == {case["kind"] for case in CASES} - set(KINDS) - set(ELSEWHERE)


@pytest.mark.skipif(not CASES, reason="the conformance cases are not beside the repository")
@pytest.mark.parametrize("case", [case for case in CASES if case["kind"] in KINDS], ids=lambda case: case["id"])
def test_a_case_gives_what_it_must(case: dict[str, Any], tmp_path: Path) -> None:
    """Each case's expected figures come out of the marts, within its tolerance."""
    found = KINDS[case["kind"]](case["inputs"], case["expected"], tmp_path)
    expected = sequence_expected(case["expected"]) if case["kind"] == "billing_sequence" else case["expected"]

    for name in expected.keys() - NOT_FIGURES:
        if isinstance(found[name], int | float | Decimal) and not isinstance(expected[name], Decimal | None):
            assert is_close(found[name], expected[name], case["tolerance"]), (name, found[name])
        else:
            assert expected[name] == found[name], name
