"""Hand-made attributed use, tokens, bills and prices for the tests of pricing: rows with defaults, in a real warehouse.

warehouse = Priced()
warehouse.use(deployment="chat", replica="r0", gpu_hours=8)
warehouse.charge("16.00", resource_id="i-1")
warehouse.link("i-1", "node-a")
warehouse.price()
warehouse.one("select effective_cost from marts.hourly_economics where model = 'm'")
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import duckdb

from tokenmill_pipeline import warehouse
from tokenmill_pipeline.config import BuildSettings, PipelineSettings
from tokenmill_pipeline.price import PriceReport, price_hours

H0: Final = datetime(2026, 11, 24, 10)  # noqa: DTZ001 - the warehouse keeps UTC without a zone
HOUR: Final = timedelta(hours=1)
HOUR_US: Final = 3_600_000_000

_USE: Final[dict[str, Any]] = {
    "hour_at": H0,
    "node": "node-a",
    "provider": "aws",
    "account": "acct",
    "region": "us-east-1",
    "cluster": "c1",
    "instance_type": "p5.48xlarge",
    "gpu_sku": "H100",
    "bucket": "serving",
    "deployment": "(none)",
    "replica": "(none)",
    "role": "(none)",
    "model_served": "(none)",
    "engine": "(none)",
    "precision": "(none)",
    "speculative": "(none)",
    "labels": "{}",
    "gpu_count": 8,
    "energy_method": "counter",
    "node_energy_method": "(none)",
    "simulated": False,
    "reasons": [],
}
_TOKENS: Final[dict[str, Any]] = {
    "hour_at": H0,
    "cluster": "c1",
    "deployment": "chat",
    "replica": "r0",
    "role": "aggregated",
    "vantage": "engine",
    "provider": "aws",
    "account": "acct",
    "model_served": "m",
    "engine": "vllm",
    "engine_version": "0.11",
    "precision": "fp8",
    "speculative": "(none)",
    "labels": "{}",
    "expected_gpu_count": 8,
    "placed_gpu_count": 8,
    "is_complete": True,
    "known_us": HOUR_US,
    "set_aside_tokens": 0,
    "simulated": False,
    "reasons": [],
}
_CHARGE: Final[dict[str, Any]] = {
    "delivery_id": "d1",
    "provider": "aws",
    "account": "acct",
    "billing_period_start_at": datetime(2026, 11, 1),  # noqa: DTZ001 - UTC
    "billing_period_end_at": datetime(2026, 12, 1),  # noqa: DTZ001 - UTC
    "charge_period_start_at": H0,
    "charge_period_end_at": H0 + HOUR,
    "charge_category": "Usage",
    "service_category": "Compute",
    "region_id": "us-east-1",
    "billing_currency": "USD",
    "flags": [],
}
_DELIVERY: Final[dict[str, Any]] = {
    "delivery_id": "d1",
    "provider": "aws",
    "account": "acct",
    "dataset": "cost_and_usage",
    "billing_period_start_at": datetime(2026, 11, 1),  # noqa: DTZ001 - UTC
    "billing_period_end_at": datetime(2026, 12, 1),  # noqa: DTZ001 - UTC
    "delivery_mode": "replace",
    "file_name": "bill.csv",
    "file_digest": "digest",
    "focus_version": "1.2",
    "data_until_at": datetime(2026, 11, 30),  # noqa: DTZ001 - UTC
    "is_closed": False,
    "numerator": "effective",
    "row_count": 1,
    "rejected_row_count": 0,
    "loaded_at": datetime(2026, 12, 1),  # noqa: DTZ001 - UTC
}
_SKU: Final[dict[str, Any]] = {
    "valid_from_at": datetime(2020, 1, 1),  # noqa: DTZ001 - UTC
    "name_pattern": "x",
    "source": "test",
    "provisioned_source": "test 2026",
}


class Priced:
    """A warehouse in memory, or at `path`, that takes rows and prices them."""

    def __init__(self, path: Path | None = None, *, build: BuildSettings | None = None) -> None:
        """Open it with every table and two known GPU products."""
        settings = PipelineSettings(data_dir=path.parent if path else Path(), threads=2)
        self.connection: duckdb.DuckDBPyConnection = warehouse.connect(path or ":memory:", settings)
        self.build = build or BuildSettings()
        warehouse.prepare(self.connection)
        self._rows = int(self.one("select count(*) from billing.charges"))
        if not self.rows("select 1 from fleet.gpu_skus"):
            self.sku("H100", "Hopper", 202203, 1370)
            self.sku("B200", "Blackwell", 202403, 1710)

    def sku(self, gpu_sku: str, generation: str, order: int, watts: float | None) -> None:
        """State what a GPU product is."""
        self._insert(
            "fleet.gpu_skus",
            _SKU,
            {
                "gpu_sku": gpu_sku,
                "gpu_generation": generation,
                "generation_order": order,
                "provisioned_watts": watts,
            },
        )

    def use(self, *, gpu_hours: float = 8, known: float = 1, joules: float | None = None, **columns: Any) -> None:
        """Add a row of attributed use.

        `known` is the share of its time in which tokens and energy are known.
        """
        gpu_time = round(gpu_hours * HOUR_US)
        is_serving = columns.get("bucket", "serving") == "serving"
        matched = round(gpu_time * known) if is_serving else 0
        millijoules = None if joules is None else round(joules * 1000)
        times = {
            "gpu_time_us": gpu_time,
            "serving_gpu_time_us": gpu_time if is_serving else 0,
            "token_known_gpu_time_us": matched,
            "cost_matched_gpu_time_us": matched,
            "energy_known_gpu_time_us": 0 if joules is None else gpu_time,
            "energy_matched_gpu_time_us": 0 if joules is None else matched,
            "gpu_energy_millijoules": millijoules,
            "gpu_energy_interpolated_millijoules": None if joules is None else 0,
            "matched_gpu_energy_millijoules": None
            if millijoules is None or not matched
            else round(millijoules * known),
        }
        unit = (
            {
                "deployment": "chat",
                "replica": "r0",
                "role": "aggregated",
                "model_served": "m",
                "engine": "vllm",
                "precision": "fp8",
            }
            if is_serving
            else {}
        )
        self._insert("hourly.unit_use", _USE, {**times, **unit, **columns})

    def tokens(self, tokens_in: int | None, tokens_out: int | None, *, known: float = 1, **columns: Any) -> None:
        """Add what a unit counted; `known` is the share of it that lies in slots whose time is known."""
        cached = columns.get("cached_input_tokens")
        parts = {
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            **{
                f"{side}_matched_{kind}_tokens": None if count is None or not known else int(count * known)
                for side in ("cost", "energy")
                for kind, count in (("input", tokens_in), ("cached_input", cached), ("output", tokens_out))
            },
        }
        self._insert("hourly.unit_tokens", _TOKENS, {**parts, **columns})

    def delivery(self, **columns: Any) -> None:
        """Add the head of a bill."""
        self._insert("billing.deliveries", _DELIVERY, columns)

    def charge(self, effective: str | None, *, billed: str | None = None, **columns: Any) -> None:
        """Add a charge, and the head of its bill where there is none."""
        self._rows += 1
        amounts = {
            "row_number": self._rows,
            "effective_cost": None if effective is None else Decimal(effective),
            "billed_cost": Decimal(billed or effective or 0),
        }
        row = {**_CHARGE, **amounts, **columns}
        if not self.rows("select 1 from billing.deliveries where delivery_id = $1", [row["delivery_id"]]):
            shared = ("delivery_id", "provider", "account", "billing_period_start_at", "billing_period_end_at")
            self.delivery(**{name: row[name] for name in shared})
        self._insert("billing.charges", {}, row)

    def link(self, resource_id: str, node: str, share: float = 1.0, **columns: Any) -> None:
        """Say which node a billed resource is."""
        base = {"provider": "aws", "valid_from_at": datetime(2020, 1, 1), "method": "test"}  # noqa: DTZ001 - UTC
        self._insert(
            "billing.resource_links", base, {"resource_id": resource_id, "node": node, "share": share, **columns}
        )

    def rate(self, kind: str, amount: float, **columns: Any) -> None:
        """State a rate card, a tariff, a PUE or an exchange rate."""
        base = {
            "kind": kind,
            "scope": str(sorted(columns.items())),
            "valid_from_at": datetime(2020, 1, 1),  # noqa: DTZ001 - UTC
            "currency": "USD",
            "amount": amount,
            "unit": "test",
            "source": f"{kind} of the test",
            "loaded_at": datetime(2020, 1, 1),  # noqa: DTZ001 - UTC
        }
        self._insert("reference.prices", base, columns)

    def instance_type(self, name: str, gpu_sku: str, gpu_count: int, provider: str = "aws") -> None:
        """State what a machine type holds."""
        base = {"provider": provider, "valid_from_at": datetime(2020, 1, 1), "source": "test"}  # noqa: DTZ001 - UTC
        self._insert("fleet.instance_types", base, {"instance_type": name, "gpu_sku": gpu_sku, "gpu_count": gpu_count})

    def price(
        self,
        *hours: datetime,
        now: datetime | None = None,
        hints: Mapping[datetime, Collection[str]] | None = None,
    ) -> PriceReport:
        """Price the hours, the first one where none is named, in a transaction of its own."""
        with warehouse.transaction(self.connection):
            return price_hours(self.connection, hours or [H0], now=now or H0 + 2 * HOUR, build=self.build, hints=hints)

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.connection.execute(query, list(parameters)).fetchall()

    def one(self, query: str) -> Any:
        """Return the one value, or the one row, that a query gives."""
        (row,) = self.rows(query)
        return row[0] if len(row) == 1 else row

    def _insert(self, table: str, base: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
        row = {**base, **columns}
        names = ", ".join(row)
        marks = ", ".join(f"${index}" for index in range(1, len(row) + 1))
        self.connection.execute(f"insert into {table} ({names}) values ({marks})", list(row.values()))
