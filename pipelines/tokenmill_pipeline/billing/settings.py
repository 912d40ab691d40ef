"""The settings of billing: where files wait, how providers are called, and how much of a refused row is kept."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BillingSettings:
    """`[billing]`.

    `inbox_dir` holds bills, or directories of a bill's parts, and price files (`.toml`); the scheduled flow loads what
    is new there. `provider_names` maps a name as a bill writes it to the name that the nodes of that provider carry,
    over the built-in list. `malformed_rows_max` is how many rows without the shape of the header a file may hold before
    it is refused as a whole.
    """

    inbox_dir: Path | None = None
    provider_names: dict[str, str] = dataclasses.field(default_factory=dict)
    payload_characters_max: int = 4_096
    malformed_rows_max: int = 10_000
