"""The fleet of a case, written down: what its GPUs, servers, prices and bills said, as they say it to the product."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.conformance.stage import ACCOUNT, PROVIDER
from tests.scripted import SECOND_US, START, ScriptedNode, server

H0: Final = START.replace(tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
HOUR_SECONDS: Final = 3600
STEP_SECONDS: Final = 60
ALWAYS: Final = datetime(2020, 1, 1, tzinfo=UTC)
REGION: Final = "case"
PriceTable = tuple[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What one serving unit, or an idle group of GPUs where `model` is None, did from the start of an hour on.

    `covered_seconds` is how much of `seconds` is seen: the rest has neither readings of energy nor looks at tokens.
    """

    name: str
    gpus: int = 1
    model: str | None = "m"
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    role: Any = "aggregated"
    deployment: str | None = None
    joules: float | None = None
    seconds: float = HOUR_SECONDS
    covered_seconds: float | None = None

    @property
    def seen_seconds(self) -> float:
        """Return for how long it is seen."""
        return self.seconds if self.covered_seconds is None else self.covered_seconds


class CaseNode(ScriptedNode):
    """A node of the region `case`, for which tariffs can be stated."""

    def head(self, kind: str, sent_at_us: int) -> dict[str, Any]:
        """Return the head of the node's next message of a kind."""
        head = super().head(kind, sent_at_us)
        return {**head, "identity": dataclasses.replace(head["identity"], region=REGION)}


def microseconds(moment: datetime) -> int:
    """Return a moment as the wire has it."""
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def node_of(
    name: str, product: str, units: list[Unit], hour: datetime = H0, *, node_joules: float | None = None
) -> CaseNode:
    """Return a node that held the units for an hour; its GPUs are of a product that a price file describes."""
    count = sum(unit.gpus for unit in units)
    first_us = microseconds(hour)
    node = CaseNode(
        name=name,
        gpu_count=count,
        provider=PROVIDER,
        account=ACCOUNT,
        gpu_name=f"Case {product}",
        power_limit_milliwatts=None,  # type: ignore[arg-type]  # a case's power is whatever it says
        boot_at_us=first_us - 24 * 3600 * SECOND_US,
        run_id=f"run-{name}",
    )
    steps = sorted({moment for unit in units for moment in moments(unit)})
    first = 0
    gpus = {}
    for unit in units:
        gpus[unit.name] = range(first, first + unit.gpus)
        first += unit.gpus
    for seconds in steps:
        if node_joules is not None:
            reading = {
                "at_us": first_us + round(seconds * SECOND_US),
                "energy_millijoules": round(node_joules * 1000 * seconds / HOUR_SECONDS),
            }
            node.host_rows([reading])
        there = [unit for unit in units if seconds <= unit.seconds]
        _look_at_gpus(node, {unit.name: gpus[unit.name] for unit in there}, there, first_us, seconds)
        _look_at_servers(node, there, first_us, seconds)
    return node


def moments(unit: Unit) -> list[float]:
    """Return when a unit is looked at: every minute, and where its time or what is seen of it ends."""
    return sorted({*map(float, range(0, int(unit.seconds) + 1, STEP_SECONDS)), unit.seen_seconds, float(unit.seconds)})


def _look_at_gpus(node: ScriptedNode, gpus: dict[str, range], units: list[Unit], first_us: int, seconds: float) -> None:
    at_us = first_us + round(seconds * SECOND_US)
    rows, placements = [], []
    for unit in units:
        is_seen = seconds <= unit.seen_seconds
        part = None if unit.joules is None or not is_seen else seconds / unit.seen_seconds
        for index, gpu in enumerate(gpus[unit.name]):
            counter = None
            if part is not None and unit.joules is not None:
                whole = round(unit.joules * 1000)
                counter = 1_000_000 + round(part * (whole * (index + 1) // unit.gpus - whole * index // unit.gpus))
            rows.append({"gpu": gpu, "at_us": at_us, "energy_counter_millijoules": counter, "reason": None})
            holder = None if unit.model is None else unit.deployment or unit.name
            told = {"replica": unit.name, "role": unit.role, "model_served": unit.model} if holder else {}
            placements.append(node.placement(gpu, at_us, holder, process_started_at_us=first_us - SECOND_US, **told))
    node.gpu_rows(rows, placements=placements)


def _look_at_servers(node: ScriptedNode, units: list[Unit], first_us: int, seconds: float) -> None:
    at_us = first_us + round(seconds * SECOND_US)
    looked = [unit for unit in units if unit.model is not None and seconds <= unit.seen_seconds]
    if not looked:
        return
    lives = [
        server(
            unit.deployment or unit.name,
            started_at_us=first_us - 3600 * SECOND_US,
            server_id=f"{node.name}/{unit.name}",
            address=f"{node.name}:{8000 + index}",
            replica=unit.name,
            role=unit.role,
            model_served=unit.model,
            expected_gpu_count=unit.gpus,
        )
        for index, unit in enumerate(looked)
    ]
    node.token_rows(
        lives,
        [
            {
                "server": index,
                "at_us": at_us,
                "input_tokens": _counted(unit.input_tokens, seconds / unit.seen_seconds),
                "output_tokens": _counted(unit.output_tokens, seconds / unit.seen_seconds),
            }
            for index, unit in enumerate(looked)
        ],
    )


def _counted(tokens: int | None, part: float) -> int | None:
    return None if tokens is None else 1000 + round(tokens * part)


def product(name: str, watts: float | None = None, *, since: datetime = ALWAYS, source: str = "the case") -> PriceTable:
    """Return the entry that says what a GPU product is, and what power is planned for it."""
    planned = {} if watts is None else {"provisioned_watts": float(watts), "provisioned_source": source}
    facts = {
        "gpu_sku": name,
        "name_pattern": rf"^Case {name}$",
        "gpu_generation": f"generation of {name}",
        "generation_order": 300001,
        "valid_from": since,
        "source": source,
    }
    return "gpu_sku", {**facts, **planned}


def rate(name: str, usd_per_gpu_hour: float) -> PriceTable:
    """Return the entry of a rate card; that it may be far from what others ask was looked at."""
    return "rate_card", {
        "provider": PROVIDER,
        "gpu_sku": name,
        "currency": "USD",
        "per_gpu_hour": float(usd_per_gpu_hour),
        "valid_from": ALWAYS,
        "source": "the case",
        "checked": True,
    }


def tariff(usd_per_kilowatt_hour: float) -> PriceTable:
    """Return the entry of a tariff of the region of the case's nodes."""
    return "tariff", {
        "region": REGION,
        "currency": "USD",
        "per_kilowatt_hour": usd_per_kilowatt_hour,
        "valid_from": ALWAYS,
        "source": "the case",
        "checked": True,
    }


def link(node: str) -> PriceTable:
    """Return the entry that says that the billed resource of a node's name is the node."""
    return "resource_link", {"provider": PROVIDER, "resource_id": node, "node": node, "valid_from": ALWAYS}


def charge(node: str, usd: float, hour: datetime = H0) -> dict[str, str]:
    """Return a row of a bill: what a node cost in an hour."""
    month = hour.replace(day=1, hour=0)
    amounts = dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"), repr(usd))
    return {
        **amounts,
        "BillingCurrency": "USD",
        "BillingAccountId": ACCOUNT,
        "ProviderName": PROVIDER,
        "BillingPeriodStart": _text(month),
        "BillingPeriodEnd": _text((month + timedelta(days=31)).replace(day=1)),
        "ChargePeriodStart": _text(hour),
        "ChargePeriodEnd": _text(hour + HOUR),
        "ChargeCategory": "Usage",
        "ServiceCategory": "Compute",
        "PricingQuantity": "1",
        "PricingUnit": "Hours",
        "ResourceId": node,
    }


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
