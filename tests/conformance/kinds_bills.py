"""The kinds of cases about bills: files in the columns of FOCUS, loaded in order, and where their money went."""

import csv
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from tests.conformance.cases import Case, CaseError, Fields
from tests.conformance.fleet import ALWAYS, Unit, charge, link, node_of, product
from tests.conformance.kinds_rates import LATER, SKU
from tests.conformance.stage import Stage
from tokenmill_pipeline.config import BuildSettings

LINES: Final = "hourly.charge_lines as l inner join billing.charges as c using (delivery_id, row_number)"
BILLED_BY: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""When the bills of cases are loaded: later than any of their charges."""

BY_HOUR: Final = """
    with charged as (
        select
            c.*,
            unnest(generate_series(
                date_trunc('hour', c.charge_period_start_at),
                c.charge_period_end_at - interval 1 microsecond,
                interval 1 hour
            )) as hour_at,
            date_diff('hour', c.charge_period_start_at, c.charge_period_end_at) as hours
        from billing.charges as c
        inner join billing.deliveries as d using (delivery_id)
        where d.superseded_at is null
    ),

    effective as (
        select delivery_id, row_number, hour_at, sum(numerator_cost) as effective_cost, sum(list_cost) as list_cost
        from hourly.charge_lines
        where not is_estimate
        group by all
    )

    select
        strftime(c.hour_at, '%Y-%m-%dT%H:%M:%SZ') as hour_at,
        coalesce(c.resource_id, 'null') as resource,
        sum(e.effective_cost) as "EffectiveCost",
        sum(c.billed_cost / c.hours) as billed_part,
        sum(c.billed_cost) as billed_whole,
        sum(e.list_cost) as "ListCost",
        coalesce(sum(c.pricing_quantity), 0) as "PricingQuantity",
        bool_and(c.hours <= 1) as is_one_hour
    from charged as c
    left join effective as e using (delivery_id, row_number, hour_at)
    group by all
"""


def billing_sequence(case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """Files one after the other, a build after each: by hour and resource, by invoice, and the hour's revisions."""
    _owners(case, stage)
    for step in inputs.each("files"):
        path = case.path(step.need("file"))
        delivery: Literal["append", "replace"] = (
            "replace" if step.choice("delivery", ("append", "replace")) == "replace" else "append"
        )
        stage.load(path, BILLED_BY, delivery)
        stage.build(BILLED_BY)
    hours: dict[str, dict[str, dict[str, Any]]] = {}
    for row in stage.rows(BY_HOUR):
        billed = row["billed_whole"] if row["is_one_hour"] else row["billed_part"]
        names = ("EffectiveCost", "ListCost", "PricingQuantity")
        hours.setdefault(row["hour_at"], {})[row["resource"]] = {"BilledCost": billed, **{n: row[n] for n in names}}
    for resources in hours.values():
        resources["_total"] = {
            name: sum(row[name] or Decimal(0) for row in resources.values()) for name in ("EffectiveCost", "BilledCost")
        }
    invoices = stage.rows(
        "select invoice_id, sum(billed_cost) as billed from marts.invoice_reconciliation group by all"
    )
    revised = stage.rows("select distinct n from (select max(revision) as n from hourly.revisions group by hour_at)")
    counts = sorted(row["n"] for row in revised)
    return {
        "by_charge_hour_and_resource": hours,
        "billed_by_invoice": {row["invoice_id"]: row["billed"] for row in invoices},
        "revisions_of_each_hour": counts[0] if len(counts) == 1 else counts,
    }


def _owners(case: Case, stage: Stage) -> None:
    """Let every resource of the case be a node with an idle GPU in its hour, so that money moves between nodes."""
    nodes, links = [], {}
    for moment, resources in case.expected.get("by_charge_hour_and_resource", {}).items():
        hour = datetime.fromisoformat(moment)
        for resource in resources.keys() - {"null", "_total"}:
            unit = Unit(name=resource, model=None)
            nodes.append(node_of(resource, SKU, [unit], hour))
            links[resource] = link(resource)
    if nodes:
        stage.ingest(nodes)
        stage.prices([product(SKU), *links.values()], BILLED_BY)


def _loaded_day(case: Case, inputs: Fields, stage: Stage) -> tuple[datetime, datetime]:
    """Load a case's one file, build, and return the first day of its usage."""
    stage.load(case.path(inputs.need("file")), BILLED_BY)
    stage.build(BILLED_BY)
    first = stage.one("select min(charge_period_start_at) as at from billing.charges where charge_category = 'Usage'")
    day: date = first["at"].date()
    start = datetime.combine(day, time())
    return start, start + timedelta(days=1)


def commitment_day(case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """A commitment for a day: what was used, what was not, and what is on demand beside it."""
    day = _loaded_day(case, inputs, stage)
    sums = stage.one(
        f"""
        select
            sum(l.numerator_cost) filter (c.commitment_discount_status = 'Used') as used,
            count(distinct l.hour_at) filter (c.commitment_discount_status = 'Used') as used_hours,
            sum(l.list_cost) filter (c.commitment_discount_status = 'Used') as listed,
            coalesce(sum(l.numerator_cost) filter (l.line = 'unused_commitment'), 0) as unused,
            count(distinct l.hour_at) filter (l.line = 'unused_commitment') as unused_hours,
            sum(l.numerator_cost) filter (
                c.charge_category = 'Usage' and c.commitment_discount_status is null
            ) as on_demand,
            count(distinct l.hour_at) filter (
                c.charge_category = 'Usage' and c.commitment_discount_status is null
            ) as on_demand_hours,
            count(distinct l.hour_at) as hours,
            sum(l.numerator_cost) as everything
        from {LINES}
        where l.hour_at >= $1 and l.hour_at < $2
        """,
        day,
    )
    bought = stage.one(
        "select sum(billed_cost) as billed, sum(effective_cost) as effective, "
        "(select sum(billed_cost) from billing.charges where charge_category <> 'Purchase') as others "
        "from billing.charges where charge_category = 'Purchase'"
    )
    used, unused, listed = sums["used"], sums["unused"], sums["listed"]
    return {
        "purchase_billed": bought["billed"],
        "purchase_effective": bought["effective"],
        "commitment_per_hour": (used + unused) / sums["hours"],
        "used_hours": sums["used_hours"],
        "used_effective": used,
        "unused_hours": sums["unused_hours"],
        "unused_effective": unused,
        "on_demand_hours": sums["on_demand_hours"],
        "on_demand_effective": sums["on_demand"],
        "day_effective": sums["everything"],
        "day_billed_without_purchase": bought["others"],
        "used_list": listed,
        "saving_against_list_on_used": listed - used,
        "net_of_unused": listed - used - unused,
    }


def spread_to_hours(case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """A day's rows over its hours: each hour its part, and all of them the row."""
    day = _loaded_day(case, inputs, stage)
    by_hour = stage.rows(
        f"""
        select
            l.hour_at,
            sum(l.numerator_cost) filter (c.capacity_reservation_status = 'Used') as used,
            sum(l.numerator_cost) filter (c.capacity_reservation_status = 'Unused') as unused,
            sum(l.numerator_cost) filter (c.capacity_reservation_status is not null) as reserved,
            sum(l.numerator_cost) as everything
        from {LINES}
        where l.hour_at >= $1 and l.hour_at < $2
        group by all
        """,
        day,
    )
    return {
        "used_per_hour": _same([row["used"] for row in by_hour]),
        "unused_per_hour": _same([row["unused"] for row in by_hour]),
        "reservation_day": sum(row["reserved"] for row in by_hour),
        "all_rows_day": sum(row["everything"] for row in by_hour),
        "hours": len(by_hour),
    }


def _same(values: list[Decimal]) -> Decimal | tuple[Decimal, Decimal]:
    """Return what all hours have, the smallest part of money apart; the least and the most where they differ."""
    least, most = min(values), max(values)
    return least if most - least <= Decimal("1e-11") else (least, most)


def per_token_bill(case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """A bill for tokens: what a million of them cost, by what its rows say; its quantities are no counted tokens."""
    stage.load(case.path(inputs.need("file")), BILLED_BY)
    stage.build(BILLED_BY)
    rows = stage.rows(
        f"""
        select
            lower(concat_ws(' ', c.sku_meter, c.charge_description, c.sku_price_details)) as words,
            sum(l.numerator_cost) as usd,
            any_value(c.consumed_quantity) as consumed,
            any_value(c.consumed_unit) as consumed_unit,
            any_value(c.pricing_quantity) as priced,
            any_value(c.pricing_unit) as pricing_unit,
            count(distinct l.hour_at) as hours
        from {LINES}
        group by c.delivery_id, c.row_number, words
        """
    )
    usd: dict[str, Decimal] = {}
    tokens: dict[str, Decimal] = {}
    for row in rows:
        side = _side(row["words"])
        usd[side] = usd.get(side, Decimal(0)) + row["usd"]
        tokens[side] = tokens.get(side, Decimal(0)) + _tokens(row)
    total, count = sum(usd.values(), Decimal(0)), sum(tokens.values(), Decimal(0))
    asked = sum(tokens.get(side, Decimal(0)) for side in ("input", "uncached_in", "cache_write", "cache_read"))
    counted = stage.one("select sum(total_tokens) as n from marts.hourly_cost_per_token")["n"]
    return {
        **{f"{side}_usd": amount for side, amount in usd.items()},
        **{f"{side}_tok": number for side, number in tokens.items()},
        "total_usd": total,
        "row_hours": max(row["hours"] for row in rows),
        "cost_usd_per_million_tok_blended": 1_000_000 * total / count if count else None,
        "cached_read_share_of_input": tokens.get("cache_read", Decimal(0)) / asked if asked else None,
        "counted_tok": counted,
    }


def _side(words: str) -> str:
    for mark, side in (("output", "output"), ("uncached", "uncached_in"), ("cache write", "cache_write")):
        if mark in words:
            return side
    return "cache_read" if "cache read" in words else "input"


def _tokens(row: dict[str, Any]) -> Decimal:
    for amount, unit in ((row["consumed"], row["consumed_unit"]), (row["priced"], row["pricing_unit"])):
        words = str(unit or "").lower()
        if amount is not None and "token" in words:
            number = words.replace("tokens", "").replace("token", "").replace(",", "").strip()
            return Decimal(amount) * (Decimal(number) if number.isdigit() else 1)
    raise CaseError("a row of the bill has no quantity of tokens")


def currency(case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """A contract in two currencies: each of its rates, as a dated rate, converts a bill; the two are never added."""
    found = []
    for number, (usd, eur) in enumerate(_contract(case, inputs)):
        euros = stage.another(f"rate-{number}", BuildSettings(reporting_currency="EUR"))
        rate = {
            "from_currency": "USD",
            "to_currency": "EUR",
            "rate": float(eur / usd),
            "valid_from": ALWAYS,
            "source": "the case",
        }
        euros.prices([("exchange_rate", rate)], LATER)
        euros.bill([charge("contract", float(usd))], LATER)
        euros.build(LATER)
        row = euros.one("select sum(effective_cost) as cost from marts.hourly_cost_per_token")
        found.append(None if row["cost"] is None else str(Decimal(repr(row["cost"])) / usd))
    return {"eur_per_usd_implied_by_each_row": found}


def _contract(case: Case, inputs: Fields) -> list[tuple[Decimal, Decimal]]:
    """Return the amounts of each row of a contract, in US dollars and in euros."""
    with case.path(inputs.need("file")).open(encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.DictReader(handle))
    amounts = []
    for row in rows:
        named = {
            row.get("BillingCurrency"): row.get("ContractCommitmentCost"),
            row.get("PricingCurrency"): row.get("PricingCurrencyContractCommitmentCost"),
        }
        if not named.get("USD") or not named.get("EUR"):
            raise CaseError("a row of the contract does not state its cost in both USD and EUR")
        amounts.append((Decimal(str(named["USD"])), Decimal(str(named["EUR"]))))
    return amounts
