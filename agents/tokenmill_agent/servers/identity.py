"""What a server says of itself beside its counters: version, model and root, asked until a process life told."""

import dataclasses
import json
from typing import Any, Final

from tokenmill_agent.servers.engine_table import NO_FACTS, EngineTable, Fact, PageFacts, facts_of, text_fact
from tokenmill_agent.servers.fetch import FetchError, fetch

_AGAIN_TIMEOUT_SECONDS: Final = 1.0
_SELDOM_LOOKS: Final = 64
_MAX_BYTES: Final = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a server answered; None where it did not. `complete` is False where asking again may tell more."""

    engine_version: str | None = None
    model_served: str | None = None
    model_root: str | None = None
    facts: PageFacts = NO_FACTS
    complete: bool = False


def is_due(looks: int) -> bool:
    """Say whether to ask again after so many looks: after 1, 2, 4, ... 64, and every 64 from then on."""
    return looks % _SELDOM_LOOKS == 0 or (looks < _SELDOM_LOOKS and looks.bit_count() == 1)


def ask_first(url: str, table: EngineTable, *, timeout_seconds: float) -> Identity:
    """Ask a server that is new; it may take as long for an answer as for its page, since its names hang on it."""
    return _ask(url, table, timeout_seconds)


def ask_again(url: str, table: EngineTable, known: Identity) -> Identity:
    """Ask for what is missing, briefly, since other servers wait; what was known and is not told now stays."""
    found = _ask(url, table, _AGAIN_TIMEOUT_SECONDS)
    return dataclasses.replace(
        found,
        engine_version=found.engine_version or known.engine_version,
        model_served=found.model_served or known.model_served,
        model_root=found.model_root or known.model_root,
        facts=found.facts.over(known.facts),
    )


def _ask(url: str, table: EngineTable, timeout_seconds: float) -> Identity:
    """Ask the server of `url` what its engine's table says may be asked; what is not answered stays None."""
    answers: dict[str, str] = {}
    told: dict[Fact, object] = {}
    complete = True
    for question in table.questions:
        try:
            document = fetch(
                url,
                path=question.path,
                accept="application/json",
                timeout_seconds=timeout_seconds,
                max_bytes=_MAX_BYTES,
            )
            parsed = json.loads(document.body)
        except FetchError as error:
            # This server does not tell, or it is busy, loads, or was not reached: then it may tell next time.
            complete = complete and error.answered
            continue
        except (ValueError, RecursionError):
            continue
        for name in ("engine_version", "model_served", "model_root"):
            answer = text_fact(_at(parsed, getattr(question, name)))
            if answer is not None:
                answers.setdefault(name, answer)
        told.update({fact: _at(parsed, path) for fact, path in question.facts.items()})
    facts = facts_of(told, role_words=table.role_words, basis="endpoint")
    return Identity(**answers, facts=facts, complete=complete)


def _at(document: Any, path: str | None) -> Any:
    """Return what stands at `path`, None where nothing does."""
    if path is None:
        return None
    for step in path.split("."):
        if isinstance(document, list) and step == "only" and len(document) == 1:
            document = document[0]
        elif isinstance(document, list) and step.isdigit() and int(step) < len(document):
            document = document[int(step)]
        elif isinstance(document, dict) and step in document:
            document = document[step]
        else:
            return None
    return document
