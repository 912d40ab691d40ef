"""How a bill is loaded: the flags of `billing load`, or `load.toml` beside the parts of a bill that comes every day."""

import dataclasses
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from tokenmill_agent.errors import UsageError
from tokenmill_agent.settings import section

Mode = Literal["append", "replace"]
OPTIONS_FILE: Final = "load.toml"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """The flags of `billing load`; provider, account and currency stand in only where a file does not say.

    Without `delivery` rows are added to what is there: a provider that replaces must be said to, never guessed.
    """

    provider: str | None = None
    account: str | None = None
    currency: str | None = None
    delivery: Mode | None = None
    data_until_at: datetime | None = None
    is_closed: bool = False

    def over(self, other: "LoadOptions") -> "LoadOptions":
        """Return these options, and the other's where these say nothing."""
        said = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return dataclasses.replace(other, **{**said, "is_closed": self.is_closed or other.is_closed})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _OptionsFile:
    """The keys of `load.toml`."""

    provider: str | None = None
    account: str | None = None
    currency: str | None = None
    delivery: str | None = None
    closed: bool = False


def read_options(directory: Path) -> LoadOptions:
    """Return what `load.toml` in the directory of a bill's parts says, or no options where there is none.

    Raises:
        UsageError: it is no TOML, or has an unknown key or value.
    """
    path = directory / OPTIONS_FILE
    if not path.is_file():
        return LoadOptions()
    try:
        keys = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    found = section(_OptionsFile, OPTIONS_FILE, {OPTIONS_FILE: keys}, environ={})
    if found.delivery is None or found.delivery == "append":
        delivery: Mode | None = "append" if found.delivery else None
    elif found.delivery == "replace":
        delivery = "replace"
    else:
        raise UsageError(f'{path}: delivery = "{found.delivery}" must be "append" or "replace"')
    return LoadOptions(
        provider=found.provider,
        account=found.account,
        currency=found.currency,
        delivery=delivery,
        is_closed=found.closed,
    )
