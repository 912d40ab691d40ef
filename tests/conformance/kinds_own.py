"""The kinds of cases about hardware that is owned: what it costs an hour, and the electricity beside it."""

from typing import Any, Final

from tests.conformance.cases import Case, Fields
from tests.conformance.fleet import ALWAYS, PriceTable, Unit, node_of, product, tariff
from tests.conformance.kinds_rates import LATER, SKU, cost, power
from tests.conformance.stage import PROVIDER, Stage

JOULES_PER_KILOWATT_HOUR: Final = 3.6e6
NODE: Final = "node-case"


def electricity(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """Own hardware that draws measured power under a tariff, with nothing else to pay for."""
    joules = JOULES_PER_KILOWATT_HOUR * inputs.number("energy_kwh")
    unit = Unit(name="u", gpus=8, output_tokens=round(inputs.number("total_tok")), joules=joules)
    stage.ingest([node_of(NODE, SKU, [unit])])
    prices = [asset({}), tariff(inputs.number("electricity_price_usd_per_kwh"))]
    stage.prices([product(SKU), *prices], LATER)
    stage.build(LATER)
    found = cost(stage)
    spent, tokens = found["energy_cost"], found["total_tokens"]
    return {
        "electricity_usd": spent,
        "electricity_usd_per_million_tok": 1e6 * spent / tokens if spent is not None and tokens else None,
        "joules_per_tok": power(stage)["joules_per_token"],
    }


def on_prem_hour(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """A node that is owned, for an hour in which it was measured: its capital, running it, and electricity."""
    capital = {
        "purchase_price": inputs.number("capex_usd"),
        "residual_value": inputs.number("residual_usd"),
        "discount_rate": inputs.number("discount_rate_per_year"),
        "life_years": inputs.number("life_years"),
        "fixed_cost_per_hour": inputs.number("fixed_opex_usd_per_h"),
    }
    joules = JOULES_PER_KILOWATT_HOUR * inputs.number("measured_node_energy_kwh")
    gpus = round(inputs.number("gpus"))
    node = node_of(NODE, SKU, [Unit(name="u", gpus=gpus, output_tokens=1)], node_joules=joules)
    pue = "pue", {"provider": PROVIDER, "pue": inputs.number("pue"), "valid_from": ALWAYS, "source": "the case"}
    stage.ingest([node])
    stage.prices([product(SKU), asset(capital), tariff(inputs.number("tariff_usd_per_kwh")), pue], LATER)
    stage.build(LATER)
    sums = stage.one(
        "select sum(effective_cost) as total, sum(energy_cost) as energy, sum(gpu_hours_paid) as gpu_hours "
        "from marts.hourly_cost_per_token"
    )
    apart = sums["total"] - sums["energy"]
    yearly = 8760 * (apart - capital["fixed_cost_per_hour"])
    return {
        "capital_recovery_factor": yearly / (capital["purchase_price"] - capital["residual_value"]),
        "capital_usd_per_h": apart - capital["fixed_cost_per_hour"],
        "energy_usd_per_h": sums["energy"],
        "total_usd_per_h": sums["total"],
        "cost_usd_per_gpu_h": sums["total"] / sums["gpu_hours"],
    }


def asset(capital: dict[str, float]) -> PriceTable:
    """Return the entry that says that the case's node is owned, and what it cost."""
    free = {
        "purchase_price": 0.0,
        "residual_value": 0.0,
        "discount_rate": 0.0,
        "life_years": 1.0,
        "fixed_cost_per_hour": 0.0,
    }
    return "asset", {"node": NODE, "currency": "USD", "valid_from": ALWAYS, "source": "the case", **free, **capital}
