"""The kinds of cases about prices, throughput and planned power: an hour of a fleet each, from the published marts."""

from datetime import datetime
from typing import Any, Final

from tests.conformance.cases import Case, CaseError, Fields
from tests.conformance.fleet import (
    ALWAYS,
    H0,
    HOUR,
    HOUR_SECONDS,
    PriceTable,
    Unit,
    charge,
    link,
    node_of,
    product,
    rate,
    tariff,
)
from tests.conformance.stage import Stage

LATER: Final = H0 + 12 * HOUR
POWER: Final = {"provisioned": "provisioned", "gpu_board": "gpu"}
"""A case's boundary of power, and the one of the mart's columns."""
COST_BASES: Final = ("input+output",)
SKU: Final = "case"
CASE_HOUR: Final = f"hour_at = timestamp '{H0:%Y-%m-%d %H:%M}'"
"""The hour that most cases are about; the next one begins with the look that ends it."""


def one_unit(
    stage: Stage,
    unit: Unit,
    prices: list[PriceTable],
    *,
    cost_usd: float | None = None,
    watts: float | None = None,
    source: str = "the case",
) -> None:
    """Carry out an hour of one unit on one node, priced by a rate card or by a bill of `cost_usd`."""
    node = "node-case"
    stage.ingest([node_of(node, SKU, [unit])])
    stage.prices([product(SKU, watts, source=source), link(node), *prices], LATER)
    if cost_usd is not None:
        stage.bill([charge(node, cost_usd)], LATER)
    stage.build(LATER)


def cost(stage: Stage) -> dict[str, Any]:
    """Return the row of the case's model in the mart of cost."""
    return stage.one("select * from marts.hourly_cost_per_token where model = 'm' and " + CASE_HOUR)


def power(stage: Stage) -> dict[str, Any]:
    """Return the row of the case's model in the mart of tokens per megawatt."""
    return stage.one("select * from marts.hourly_tokens_per_megawatt where model = 'm' and " + CASE_HOUR)


def reasons(stage: Stage) -> frozenset[str]:
    """Return every reason that either mart gives for the case's model."""
    return frozenset({*cost(stage)["reasons"], *power(stage)["reasons"]})


def rates(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """A price, a throughput and a planned power of one GPU for an hour."""
    inputs.choice("token_basis", COST_BASES, COST_BASES[0])
    boundary = POWER[inputs.choice("power_boundary", tuple(POWER), "provisioned")]
    inputs.get("gpu")
    source = str(inputs.get("constants_version", "the case"))
    watts = inputs.number("power_w_per_gpu") if "power_w_per_gpu" in inputs else None
    tokens = round(inputs.number("throughput_tok_per_s_per_gpu") * HOUR_SECONDS)
    joules = watts * HOUR_SECONDS if boundary == "gpu" and watts is not None else None
    prices = [rate(SKU, inputs.number("price_usd_per_gpu_h"))] if "price_usd_per_gpu_h" in inputs else []
    one_unit(stage, Unit(name="u", output_tokens=tokens, joules=joules), prices, watts=watts, source=source)
    sums = stage.one(
        "select matched_provisioned_energy_joules as provisioned, matched_gpu_energy_joules as gpu, "
        "provisioned_matched_tokens as provisioned_tokens, energy_matched_tokens as gpu_tokens "
        f"from marts.hourly_economics where model = 'm' and {CASE_HOUR}"
    )
    counted = sums[f"{boundary}_tokens"]
    return {
        "cost_usd_per_million_tok": cost(stage)["cost_per_million_tokens"],
        "tok_s_per_mw": power(stage)[f"tokens_per_second_per_megawatt_{boundary}"],
        "joules_per_tok": sums[boundary] / counted if counted and sums[boundary] is not None else None,
        "reason": reasons(stage),
    }


def generation_ratios(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """Two GPUs side by side; published cells stand beside them as hours of the price and power that they imply."""
    nodes, prices = [], []
    for side in "ab":
        cells = inputs.inner(side)
        cells.get("gpu")
        rated = cells.number("tok_s_per_gpu")
        watts = 1e6 * rated / cells.number("tok_s_per_mw") if "tok_s_per_mw" in cells else None
        implied = {side: cells.number("price_usd_per_gpu_h")}
        if "cost_usd_per_million_tok" in cells:
            implied[f"{side}-cells"] = cells.number("cost_usd_per_million_tok") * rated * HOUR_SECONDS / 1e6
        for name, usd in implied.items():
            unit = Unit(name=name, model=name, output_tokens=round(rated * HOUR_SECONDS))
            nodes.append(node_of(f"node-{name}", name, [unit]))
            prices += [product(name, watts), rate(name, usd)]
    stage.ingest(nodes)
    stage.prices(prices, LATER)
    stage.build(LATER)
    found = {row["model"]: row for row in stage.rows(SIDE_BY_SIDE)}
    a, b = found["a"], found["b"]
    return {
        "price_ratio": _ratio(b, a, "cost_per_gpu_hour"),
        "tok_s_per_gpu_ratio": _ratio(b, a, "tokens_per_second_per_gpu"),
        "tok_s_per_mw_ratio": _ratio(b, a, "per_megawatt"),
        "cost_ratio_from_price_and_throughput": _ratio(a, b, "cost_per_million_tokens"),
        "cost_ratio_of_published_cells": _ratio(
            found.get("a-cells", {}), found.get("b-cells", {}), "cost_per_million_tokens"
        ),
        "a_cost_from_cells": a["cost_per_million_tokens"],
        "b_cost_from_cells": b["cost_per_million_tokens"],
    }


SIDE_BY_SIDE: Final = f"""
    select
        c.model,
        c.cost_per_gpu_hour,
        c.tokens_per_second_per_gpu,
        c.cost_per_million_tokens,
        p.tokens_per_second_per_megawatt_provisioned as per_megawatt
    from marts.hourly_cost_per_token as c
    inner join marts.hourly_tokens_per_megawatt as p using (hour_at, gpu_generation, model)
    where {CASE_HOUR}
"""


def _ratio(upper: dict[str, Any], lower: dict[str, Any], column: str) -> float | None:
    above, below = upper.get(column), lower.get(column)
    return float(above) / float(below) if above is not None and below else None


def constants_version(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """The same throughput in two hours; from the second on another power is planned for the same GPUs."""
    nodes, prices = [], []
    hours = {"old_kw": (H0, ALWAYS), "new_kw": (H0 + HOUR, H0 + HOUR)}
    planned = {version: inputs.inner(version) for version in hours}
    for side in "ab":
        tokens = round(inputs.number(f"{side}_tok_s_per_gpu") * HOUR_SECONDS)
        for version, (hour, since) in hours.items():
            unit = Unit(name=side, model=side, output_tokens=tokens)
            nodes.append(node_of(f"node-{side}-{version}", side, [unit], hour))
            watts = 1000 * planned[version].number(side)
            prices.append(product(side, watts, since=since, source=str(planned[version].get("version"))))
    stage.ingest(nodes)
    stage.prices(prices, LATER)
    stage.build(LATER)
    query = (
        "select hour_at, model, tokens_per_second_per_megawatt_provisioned as per_megawatt "
        "from marts.hourly_tokens_per_megawatt where model in ('a', 'b') and gpu_generation <> '(unknown)'"
    )
    found = {(row["hour_at"], row["model"]): row for row in stage.rows(query)}

    def ratio(hour: datetime) -> float | None:
        at = hour.replace(tzinfo=None)
        return _ratio(found[at, "b"], found[at, "a"], "per_megawatt")

    return {"ratio_old": ratio(H0), "ratio_new": ratio(H0 + HOUR)}


def published_cells(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """Which throughputs agree with rounded cells: those at which the product's own figures would round to them.

    An hour at a known throughput gives a cost and tokens per megawatt; the first falls as the throughput rises, the
    second rises with it.
    """
    inputs.get("gpu")
    known = 1000
    watts = inputs.number("power_w_per_gpu")
    prices = [rate(SKU, inputs.number("price_usd_per_gpu_h"))]
    one_unit(stage, Unit(name="u", output_tokens=known * HOUR_SECONDS), prices, watts=watts)
    at_known = cost(stage)["cost_per_million_tokens"], power(stage)["tokens_per_second_per_megawatt_provisioned"]
    by_cost = [
        known
        * at_known[0]
        / (inputs.number("cost_usd_per_million_tok_rounded") + sign * inputs.number("cost_half_step"))
        for sign in (1, -1)
    ]
    by_power = [
        known * (inputs.number("tok_s_per_mw_rounded") + sign * inputs.number("tok_s_per_mw_half_step")) / at_known[1]
        for sign in (-1, 1)
    ]
    both = [max(by_cost[0], by_power[0]), min(by_cost[1], by_power[1])]
    return {
        "tok_s_per_gpu_from_cost": by_cost,
        "tok_s_per_gpu_from_tok_s_per_mw": by_power,
        "tok_s_per_gpu_consistent": both if both[0] <= both[1] else None,
    }


def ratio_of_sums(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """Hours that differ in tokens: the day is the ratio of their sums."""
    nodes, bill = [], []
    for number, each in enumerate(inputs.each("hours")):
        hour = H0 + number * HOUR
        unit = Unit(name=f"u{number}", output_tokens=round(each.number("total_tok")))
        nodes.append(node_of(f"node-{number}", SKU, [unit], hour))
        bill.append(charge(f"node-{number}", each.number("cost_usd"), hour))
    stage.ingest(nodes)
    stage.prices([product(SKU), *(link(node.name) for node in nodes)], LATER)
    stage.bill(bill, LATER)
    stage.build(LATER)
    sums = stage.one(
        "select 1e6 * sum(matched_effective_cost) / sum(cost_matched_tokens) as ratio "
        "from marts.hourly_cost_per_token where model = 'm'"
    )
    return {"cost_usd_per_million_tok": sums["ratio"]}


def null_rule(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """What is missing gives no value and its reason; what zero-token hours cost is told beside it."""
    gpus = _whole(inputs, "gpu_hours_paid", 1)
    price, billed, joules = (inputs.get(name) for name in ("price_usd_per_gpu_h", "cost_usd", "energy_j"))
    tokens = round(inputs.number("total_tok"))
    unit = Unit(name="u", gpus=gpus, output_tokens=tokens, joules=joules)
    one_unit(stage, unit, [] if price is None else [rate(SKU, price)], cost_usd=billed)
    costs, powers = cost(stage), power(stage)
    idle = stage.one(
        "select sum(effective_cost) as cost from marts.hourly_cost_per_token "
        f"where gpu_hours_allocated > 0 and total_tokens = 0 and {CASE_HOUR}"
    )
    return {
        "cost_usd": costs["effective_cost"],
        "cost_usd_per_million_tok": costs["cost_per_million_tokens"],
        "idle_cost_usd": idle["cost"],
        "tok_s_per_mw": powers["tokens_per_second_per_megawatt_gpu"],
        "joules_per_tok": powers["joules_per_token"],
        "reason": reasons(stage),
    }


def no_double_energy(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """A tariff beside a cloud's bill adds nothing, whatever the node drew."""
    inputs.choice("cost_source", ("cloud",))
    joules = 3.6e6 * inputs.number("energy_kwh")
    unit = Unit(name="u", gpus=8, output_tokens=round(inputs.number("total_tok")), joules=joules)
    prices = [tariff(inputs.number("tariff_usd_per_kwh"))]
    one_unit(stage, unit, prices, cost_usd=inputs.number("cost_usd"))
    found = cost(stage)
    return {
        "cost_usd_per_million_tok": found["cost_per_million_tokens"],
        "all_in_cost_usd_per_million_tok": found["all_in_cost_per_million_tokens"],
    }


def additive_split(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """Prefill and decode on GPUs of their own, and one bill for both."""
    tokens = {"prefill": "tok_in", "decode": "tok_out"}
    counts = {role: round(inputs.number(name)) for role, name in tokens.items()}
    units = [
        Unit(
            name=role,
            deployment="d",
            role=role,
            gpus=_whole(inputs, f"{role}_gpu_hours"),
            input_tokens=counts[role] if role == "prefill" else 0,
            output_tokens=counts[role] if role == "decode" else 0,
        )
        for role in tokens
    ]
    stage.ingest([node_of("node-case", SKU, units)])
    stage.prices([product(SKU), link("node-case")], LATER)
    stage.bill([charge("node-case", inputs.number("cost_usd"))], LATER)
    stage.build(LATER)
    sums = stage.one(
        "select matched_prefill_cost as prefill, matched_decode_cost as decode, matched_effective_cost as total, "
        f"cost_matched_input_tokens as tokens_in from marts.hourly_economics where model = 'm' and {CASE_HOUR}"
    )
    found = cost(stage)
    return {
        "cost_in_usd": sums["prefill"],
        "cost_out_usd": sums["decode"],
        "sum_usd": _sum(sums["prefill"], sums["decode"]),
        "usd_per_million_in": found["input_cost_per_million_tokens"],
        "usd_per_million_out": found["output_cost_per_million_tokens"],
        "non_additive_in": 1e6 * sums["total"] / sums["tokens_in"] if sums["total"] and sums["tokens_in"] else None,
        "non_additive_out": found["cost_per_million_output_tokens"],
    }


def identity(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """Cost per million tokens closes over the GPU-hours that are paid, idle ones included."""
    paid, serving = _whole(inputs, "gpu_hours_paid"), _whole(inputs, "gpu_hours_serving")
    units = [Unit(name="u", gpus=serving, output_tokens=round(inputs.number("total_tok")))]
    if paid > serving:
        units.append(Unit(name="idle", gpus=paid - serving, model=None))
    stage.ingest([node_of("node-case", SKU, units)])
    stage.prices([product(SKU), link("node-case")], LATER)
    stage.bill([charge("node-case", inputs.number("cost_usd"))], LATER)
    stage.build(LATER)
    sums = stage.one(
        "select sum(effective_cost) / sum(gpu_hours_paid) as per_hour, "
        "sum(total_tokens) / sum(gpu_hours_paid) / 3600 as per_second "
        f"from marts.hourly_cost_per_token where {CASE_HOUR}"
    )
    found = cost(stage)
    return {
        "cost_usd_per_paid_gpu_h": sums["per_hour"],
        "tok_s_per_paid_gpu": sums["per_second"],
        "tok_s_per_serving_gpu": found["tokens_per_second_per_gpu"],
        "cost_usd_per_million_tok": found["all_in_cost_per_million_tokens"],
    }


def rate_card_row(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """A GPU that was there for a part of an hour costs its rate times that part."""
    hours = inputs.number("pricing_quantity_h")
    if not 0 < hours <= 1:
        raise CaseError(f"inputs.pricing_quantity_h: {hours:g} does not lie in one hour of one GPU")
    unit = Unit(name="u", output_tokens=1, seconds=hours * HOUR_SECONDS)
    one_unit(stage, unit, [rate(SKU, inputs.number("list_unit_price_usd_per_h"))])
    amount = stage.one("select sum(numerator_cost) as cost from hourly.charge_lines")["cost"]
    return {"list_cost_usd": amount, "billed_cost_usd": amount}


def _whole(inputs: Fields, name: str, default: int | None = None) -> int:
    """Return a number of GPUs that each were there for an hour."""
    hours = default if default is not None and name not in inputs else inputs.number(name)
    if hours is None or hours != int(hours) or hours < 1:
        raise CaseError(f"inputs.{name}: {hours!r} is no number of whole GPUs in one hour")
    return int(hours)


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
