"""The entries of a price file: rates, tariffs, PUE, exchange rates, links and facts, each with its date and source.

    [[rate_card]]       # USD per GPU-hour where no bill covers the hour
    provider = "nebius"
    gpu_sku = "H200"
    currency = "USD"
    per_gpu_hour = 2.30
    valid_from = 2026-01-01
    source = "contract 2026-17"

The other tables are `[[tariff]]`, `[[pue]]`, `[[exchange_rate]]`, `[[resource_link]]`, `[[gpu_sku]]`,
`[[instance_type]]` and `[[model_alias]]`; their keys are the fields of the classes below.
"""

import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, Protocol

from tokenmill_agent.errors import UsageError
from tokenmill_agent.settings import nearest, section
from tokenmill_pipeline.billing import currencies
from tokenmill_pipeline.reference_data import published_rates, shipped_gpu_skus, shipped_instance_types

RATE_MIN: Final = 0.02
RATE_MAX: Final = 30.0
"""USD per GPU-hour of a product without a published rate."""
RATE_BELOW_PUBLISHED: Final = 4.0
RATE_ABOVE_PUBLISHED: Final = 3.5
"""How far a rate may lie below the lowest and above the highest published one before someone must have looked at it.

List prices of the large clouds are up to 3.5 times the rental rate; a machine of eight GPUs costs eight times one.
"""
TARIFF_MIN: Final = 0.005
TARIFF_MAX: Final = 1.5
PUE_MIN: Final = 1.0
PUE_MAX: Final = 3.0
SHARE_TOLERANCE: Final = 1e-9


class Entry(Protocol):
    """What every entry has: the date from which it holds."""

    @property
    def valid_from(self) -> date:
        """Return the first day or moment, UTC."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RateCard:
    """`[[rate_card]]`: money per GPU-hour; what is not named matches any. `checked` accepts a rate that looks wrong."""

    currency: str
    per_gpu_hour: float
    valid_from: date
    source: str
    provider: str | None = None
    account: str | None = None
    region: str | None = None
    gpu_sku: str | None = None
    instance_type: str | None = None
    checked: bool = False
    withdrawn: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """`[[tariff]]`: money per kilowatt-hour of a site or region, for hardware that is owned."""

    currency: str
    per_kilowatt_hour: float
    valid_from: date
    source: str
    provider: str | None = None
    account: str | None = None
    region: str | None = None
    site: str | None = None
    checked: bool = False
    withdrawn: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pue:
    """`[[pue]]`: the facility's energy per energy of its IT equipment."""

    pue: float
    valid_from: date
    source: str
    provider: str | None = None
    account: str | None = None
    region: str | None = None
    site: str | None = None
    checked: bool = False
    withdrawn: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRate:
    """`[[exchange_rate]]`: how much of the currency `to` one unit of the currency `from` is; virtual currencies too."""

    from_currency: str
    to_currency: str
    rate: float
    valid_from: date
    source: str
    withdrawn: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLink:
    """`[[resource_link]]`: the part of a billed resource or reservation that is a node; parts of one date sum to 1."""

    provider: str
    resource_id: str
    node: str
    valid_from: date
    share: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GpuSku:
    """`[[gpu_sku]]`: a GPU product that does not ship, or other facts about one that does."""

    gpu_sku: str
    valid_from: date
    name_pattern: str
    gpu_generation: str
    generation_order: int
    source: str
    pci_device_ids: tuple[str, ...] = ()
    fp4_dense_flop_per_second: float | None = None
    fp8_dense_flop_per_second: float | None = None
    bf16_dense_flop_per_second: float | None = None
    flop_source: str | None = None
    provisioned_watts: float | None = None
    provisioned_source: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """`[[instance_type]]`: what a billed machine of a type, or of a SKU, holds."""

    provider: str
    instance_type: str
    valid_from: date
    gpu_sku: str
    gpu_count: int
    source: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelAlias:
    """`[[model_alias]]`: the canonical name of a served model; '*' matches anything."""

    model_served: str
    model: str
    valid_from: date
    cluster: str = "*"
    deployment_pattern: str = "*"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PriceFile:
    """Everything that a price file may hold."""

    rate_card: tuple[RateCard, ...] = ()
    tariff: tuple[Tariff, ...] = ()
    pue: tuple[Pue, ...] = ()
    exchange_rate: tuple[ExchangeRate, ...] = ()
    resource_link: tuple[ResourceLink, ...] = ()
    gpu_sku: tuple[GpuSku, ...] = ()
    instance_type: tuple[InstanceType, ...] = ()
    model_alias: tuple[ModelAlias, ...] = ()


def read(path: Path) -> PriceFile:
    """Return the entries of a price file, each within the range that its unit allows.

    Raises:
        UsageError: the file cannot be read, has an unknown key or a value of the wrong type, or a value that cannot be
            right; the sentence names the entry, the value and the allowed range.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    for item in tables.get("exchange_rate", ()):
        # `from` cannot name a field.
        for key in ("from", "to"):
            if isinstance(item, dict) and key in item:
                item[f"{key}_currency"] = item.pop(key)
    entries = section(PriceFile, path.name, {path.name: tables}, environ={})
    if entries == PriceFile():
        raise UsageError(f"{path} holds no price: it needs [[rate_card]] or another of a price file's tables")
    for problem in _problems(entries):
        raise UsageError(f"{path}: {problem}")
    return entries


def unchecked(entries: PriceFile) -> list[str]:
    """Return a remark for each rate whose currency says nothing about its range, or whose GPU product is not known."""
    known = {row["gpu_sku"] for row in shipped_gpu_skus()} | {entry.gpu_sku for entry in entries.gpu_sku}
    unknown = [
        f"rate_card[{index}]: gpu_sku {entry.gpu_sku!r} does not ship and no [[gpu_sku]] of this file describes it"
        f"{nearest(entry.gpu_sku, sorted(known))}"
        for index, entry in enumerate(entries.rate_card)
        if entry.gpu_sku is not None and entry.gpu_sku not in known
    ]
    return unknown + [
        f"rate_card[{index}]: {entry.per_gpu_hour:g} {entry.currency} is not held to a range: "
        f"it is checked for {', '.join(sorted(currencies.NEAR_PARITY))} only"
        for index, entry in enumerate(entries.rate_card)
        if entry.currency.upper() not in currencies.NEAR_PARITY
    ]


def _problems(entries: PriceFile) -> Iterator[str]:
    yield from _rate_problems(entries)
    yield from _facility_problems(entries)
    yield from _exchange_problems(entries)
    yield from _currency_problems(entries)
    yield from _fact_problems(entries)
    yield from _share_problems(entries.resource_link)


def _rate_problems(entries: PriceFile) -> Iterator[str]:
    types = {(row["provider"], row["instance_type"]): row["gpu_sku"] for row in shipped_instance_types()}
    types |= {(entry.provider, entry.instance_type): entry.gpu_sku for entry in entries.instance_type}
    for index, card in enumerate(entries.rate_card):
        if card.gpu_sku is None and card.instance_type is None:
            yield f"rate_card[{index}]: say gpu_sku or instance_type: a rate for every GPU is no price"
        if not card.checked and not card.withdrawn and (problem := _rate_problem(card, types)):
            yield f"rate_card[{index}]: {problem}"


def _facility_problems(entries: PriceFile) -> Iterator[str]:
    for index, tariff in enumerate(entries.tariff):
        if not tariff.checked and tariff.currency.upper() in currencies.NEAR_PARITY:
            yield from _outside(f"tariff[{index}] per_kilowatt_hour", tariff.per_kilowatt_hour, TARIFF_MIN, TARIFF_MAX)
        if tariff.site is None and tariff.region is None:
            yield f"tariff[{index}]: say site or region"
    for index, pue in enumerate(entries.pue):
        if not pue.checked:
            yield from _outside(f"pue[{index}] pue", pue.pue, PUE_MIN, PUE_MAX)


def _exchange_problems(entries: PriceFile) -> Iterator[str]:
    for index, rate in enumerate(entries.exchange_rate):
        if not rate.rate > 0:
            yield f"exchange_rate[{index}]: rate = {rate.rate:g} must be more than 0"
        if rate.from_currency.upper() == rate.to_currency.upper():
            yield f"exchange_rate[{index}]: from and to are both {rate.to_currency}"


def _currency_problems(entries: PriceFile) -> Iterator[str]:
    named = {
        code.upper() for rate in entries.exchange_rate for code in (rate.from_currency, rate.to_currency)
    } | currencies.ISO_4217
    places: list[tuple[str, RateCard | Tariff]] = [
        *((f"rate_card[{index}]", card) for index, card in enumerate(entries.rate_card)),
        *((f"tariff[{index}]", tariff) for index, tariff in enumerate(entries.tariff)),
    ]
    for place, entry in places:
        if not entry.withdrawn and entry.currency.upper() not in named:
            yield (
                f"{place}: currency {entry.currency!r} is no code of ISO 4217 and no [[exchange_rate]] "
                f"of this file names it{nearest(entry.currency.upper(), sorted(named))}"
            )


def _rate_problem(card: RateCard, types: Mapping[tuple[str, str], str]) -> str | None:
    if card.per_gpu_hour <= 0:
        return f"per_gpu_hour = {card.per_gpu_hour:g} must be more than 0: a rate that is not known is left out"
    if card.currency.upper() not in currencies.NEAR_PARITY:
        return None
    sku = card.gpu_sku or types.get((card.provider or "", card.instance_type or ""))
    published = published_rates().get(sku or "")
    low, high = RATE_MIN, RATE_MAX
    told = ""
    if published is not None:
        low, high = published[0] / RATE_BELOW_PUBLISHED, published[1] * RATE_ABOVE_PUBLISHED
        told = f" (published rates of {sku} are {published[0]:g} to {published[1]:g})"
    if low <= card.per_gpu_hour <= high:
        return None
    return (
        f"per_gpu_hour = {card.per_gpu_hour:g} {card.currency} lies outside {low:.3g} to {high:.3g}{told}: "
        "is it a price per machine, per month or in cents? If it is right, add checked = true"
    )


def _outside(what: str, value: float, low: float, high: float) -> Iterator[str]:
    if not low <= value <= high:
        yield f"{what} = {value:g} lies outside {low:g} to {high:g}; if it is right, add checked = true"


def _fact_problems(entries: PriceFile) -> Iterator[str]:
    for index, sku in enumerate(entries.gpu_sku):
        try:
            re.compile(sku.name_pattern)
        except re.error as error:
            yield f"gpu_sku[{index}]: name_pattern {sku.name_pattern!r} is no regular expression: {error}"
        if sku.provisioned_watts is not None and not 10 <= sku.provisioned_watts <= 10_000:
            yield f"gpu_sku[{index}]: provisioned_watts = {sku.provisioned_watts:g} lies outside 10 to 10000"
    for index, kind in enumerate(entries.instance_type):
        if not 1 <= kind.gpu_count <= 1024:
            yield f"instance_type[{index}]: gpu_count = {kind.gpu_count} lies outside 1 to 1024"


def _share_problems(links: tuple[ResourceLink, ...]) -> Iterator[str]:
    sums: dict[tuple[str, str, date], float] = {}
    for link in links:
        key = (link.provider, link.resource_id, link.valid_from)
        sums[key] = sums.get(key, 0.0) + link.share
        if not 0 < link.share <= 1:
            yield f"resource_link of {link.resource_id} to {link.node}: share = {link.share:g} lies outside 0 to 1"
    for (_, resource_id, valid_from), total in sums.items():
        if abs(total - 1) > SHARE_TOLERANCE:
            yield f"the shares of {resource_id} from {valid_from} sum to {total:g}, not to 1"


def as_row(entry: Any) -> dict[str, Any]:
    """Return the fields of an entry by name."""
    return {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
