"""Scripted nodes through to the marts: GPUs that draw 400 W, servers that count evenly, and what is published."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import duckdb

from tests.scripted import ScriptedNode, ScriptedWarehouse, at, rows, server
from tokenmill_agent.records import Placement
from tokenmill_pipeline.billing.load import LoadOptions, load_path
from tokenmill_pipeline.billing.settings import BillingSettings
from tokenmill_pipeline.build import build

RATE_PER_GPU_HOUR: Final = 2.0
WATTS: Final = 400
OVER: Final = 3600 + 300
PRICES: Final = f"""
[[rate_card]]
provider = "acme"
gpu_sku = "H200"
currency = "USD"
per_gpu_hour = {RATE_PER_GPU_HOUR}
valid_from = 2026-01-01T00:00:00Z
source = "invented for a test"
checked = true
"""


def watch(
    node: ScriptedNode,
    placements: Callable[[int], list[Placement]],
    first: int = -10,
    last: int = OVER,
    step: int = 10,
) -> None:
    """Send a reading of every GPU and the sightings of `placements(seconds)` every `step` seconds."""
    for seconds in range(first, last, step):
        node.gpu_rows(
            [
                {"gpu": gpu, "at_us": at(seconds), "energy_counter_millijoules": WATTS * 1000 * (seconds + 10**6)}
                for gpu in range(node.gpu_count)
            ],
            placements=placements(seconds),
        )


def hold(
    node: ScriptedNode, deployment: str | None, first: int = -10, last: int = OVER, step: int = 10, **more: Any
) -> None:
    """Send readings and sightings of a node all of whose GPUs hold one unit, or nothing."""
    watch(
        node,
        lambda s: [node.placement(gpu, at(s), deployment, **more) for gpu in range(node.gpu_count)],
        first=first,
        last=last,
        step=step,
    )


def serve(node: ScriptedNode, first: int = 10, last: int = OVER, *, rates: Any = (10, 5), **more: Any) -> None:
    """Send looks at a server that takes ten tokens a second and gives five, or other `rates`; None is never counted."""
    life = server(started_at_us=at(-9000), **{"server_id": f"{node.name}/{more.get('role')}", **more})
    for seconds in range(first, last, 10):
        counted = [None if rate is None else round(rate * seconds) for rate in rates]
        reason = "series_absent" if None in counted else None
        node.token_rows(
            [life],
            [{"at_us": at(seconds), "input_tokens": counted[0], "output_tokens": counted[1], "reason": reason}],
        )


def published(tmp_path: Path, nodes: Sequence[ScriptedNode], query: str, *bills: str) -> list[dict[str, Any]]:
    """Build, with a rate card of 2 a GPU-hour and bills, and return what a query finds in the published file."""
    warehouse = ScriptedWarehouse(tmp_path)
    now = datetime.fromtimestamp(at(OVER) / 1e6, UTC)
    for node in nodes:
        warehouse.land(node.sent)
    for name, text in [("prices.toml", PRICES), *[(f"{i}.csv", bill) for i, bill in enumerate(bills)]]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        options = LoadOptions(provider="acme", currency="USD")
        load_path(warehouse.settings, BillingSettings(), tmp_path / name, options=options, now=now)
    build(warehouse.settings, warehouse.build, warehouse.fleet, BillingSettings(), now=now)
    with duckdb.connect(str(warehouse.settings.published_path), read_only=True) as connection:
        return rows(connection, query)


def economics(tmp_path: Path, nodes: Sequence[ScriptedNode], *bills: str) -> dict[str, dict[str, Any]]:
    """Return the first hour's published rows by model, where each model ran on one generation."""
    found = published(
        tmp_path,
        nodes,
        "select * from marts.hourly_cost_per_token as c left join marts.hourly_tokens_per_megawatt as t "
        "using (hour_at, gpu_generation, model) where hour_at = timestamp '2026-03-01 10:00'",
        *bills,
    )
    by_model = {row["model"]: row for row in found}
    assert len(by_model) == len(found), found
    return by_model
