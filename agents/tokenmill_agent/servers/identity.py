"""What a server says of itself beside its counters: version, model and root, asked once per process life."""

import dataclasses
import json
from typing import Any, Final

from tokenmill_agent.servers.engines import EngineTable
from tokenmill_agent.servers.fetch import FetchError, fetch

_TIMEOUT_SECONDS: Final = 1.0
_MAX_BYTES: Final = 1024 * 1024
_MAX_CHARACTERS: Final = 512


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a server answered; None where it did not. `complete` is False where asking again may tell more."""

    engine_version: str | None = None
    model_served: str | None = None
    model_root: str | None = None
    complete: bool = False


def ask(url: str, table: EngineTable) -> Identity:
    """Ask the server of `url` what its engine's table says may be asked; what is not answered stays None."""
    answers: dict[str, str] = {}
    complete = True
    for question in table.questions:
        try:
            document = fetch(
                url,
                path=question.path,
                accept="application/json",
                timeout_seconds=_TIMEOUT_SECONDS,
                max_bytes=_MAX_BYTES,
            )
            parsed = json.loads(document.body)
        except FetchError as error:
            # A status is an answer: this server does not tell. Anything else may be another one next time.
            complete = complete and error.answered
            continue
        except (ValueError, RecursionError):
            continue
        for name in ("engine_version", "model_served", "model_root"):
            answer = _at(parsed, getattr(question, name))
            if answer is not None:
                answers.setdefault(name, answer)
    return Identity(**answers, complete=complete)


def _at(document: Any, path: str | None) -> str | None:
    if path is None:
        return None
    for step in path.split("."):
        if isinstance(document, list) and step.isdigit() and int(step) < len(document):
            document = document[int(step)]
        elif isinstance(document, dict) and step in document:
            document = document[step]
        else:
            return None
    if not isinstance(document, str) or not document:
        return None
    # JSON can hold half a surrogate pair, which no message could be encoded with.
    return document[:_MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
