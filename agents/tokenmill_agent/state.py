"""Which run this is and what was sent before: kept in a small file, so that a lost message shows as a gap."""

import json
import logging
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Kind = Literal["gpu-power", "token-counters"]
KINDS: Final[tuple[Kind, ...]] = ("gpu-power", "token-counters")

_FILE: Final = "run.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Previous:
    run_id: str | None = None
    last_sequence: dict[str, int] | None = None


class RunState:
    """One run of the agent. Without a directory nothing is kept and no earlier run is known.

    A directory that cannot be read or written costs the knowledge of earlier runs, never a message.
    """

    def __init__(self, directory: Path | None, *, failed: Callable[[], None] = lambda: None) -> None:
        """Begin a run; `failed` is called for every time that the file could not be written."""
        self.run_id = str(uuid.uuid4())
        self._path = directory / _FILE if directory is not None else None
        self._failed = failed
        self._complained = False
        self._last_sequence: dict[Kind, int] = {}
        self._previous = _read(self._path) if self._path is not None else _Previous()

    @property
    def previous_run_id(self) -> str | None:
        """Return the run before this one on this node."""
        return self._previous.run_id

    def previous_last_sequence(self, kind: Kind) -> int | None:
        """Return the last sequence that the run before gave to a message of `kind`."""
        return (self._previous.last_sequence or {}).get(kind)

    def next_sequence(self, kind: Kind) -> int:
        """Return the number of the next message of `kind`, and remember that it was given away."""
        sequence = self._last_sequence.get(kind, -1) + 1
        self._last_sequence[kind] = sequence
        if self._path is not None:
            self._write(self._path)
        return sequence

    def _write(self, path: Path) -> None:
        beside = path.with_suffix(".tmp")
        text = json.dumps({"run_id": self.run_id, "last_sequence": self._last_sequence})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(text, encoding="utf-8")
            os.replace(beside, path)  # noqa: PTH105 - the atomic one by its known name
        except OSError as error:
            self._failed()
            if not self._complained:
                self._complained = True
                _log.warning("cannot write %s: %s; after a restart a gap cannot be told", path, error.strerror)


def _read(path: Path) -> _Previous:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _Previous(
            run_id=str(found["run_id"]),
            last_sequence={kind: int(found["last_sequence"][kind]) for kind in KINDS if kind in found["last_sequence"]},
        )
    except FileNotFoundError:
        return _Previous()
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("cannot read %s: %s; the run before is not known", path, error)
        return _Previous()
