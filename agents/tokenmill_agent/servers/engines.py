"""What each engine counts: one table per engine and range of versions, exact sample names, no patterns.

A name that merely looks like a counter of tokens is not in a table and is never counted: `_created` (a time),
`_bucket`, histograms called `..._total`, per-position twins. To add an engine, add a table and a page of it.
"""

from typing import Final

from tokenmill_agent.servers import tables_dynamo, tables_others, tables_sglang, tables_tensorrt, tables_vllm
from tokenmill_agent.servers.engine_table import (
    CORE_FIELDS,
    PROCESS_START,
    SECONDS_FIELDS,
    EngineTable,
    Field,
    PageFacts,
    Question,
    Refusal,
)

__all__ = [
    "CORE_FIELDS",
    "METRICS_PATHS",
    "PROCESS_START",
    "REFUSALS",
    "SECONDS_FIELDS",
    "TABLES",
    "EngineTable",
    "Field",
    "PageFacts",
    "Question",
    "spellings",
    "wanted_names",
]

TABLES: Final[tuple[EngineTable, ...]] = (
    # A front end's page may hold the series of what works in the same process.
    *tables_dynamo.TABLES,
    *tables_vllm.TABLES,
    *tables_sglang.TABLES,
    *tables_tensorrt.TABLES,
    *tables_others.TABLES,
)
"""Every engine that is counted. A more special table stands before a more general one."""

REFUSALS: Final[tuple[Refusal, ...]] = (*tables_dynamo.REFUSALS, *tables_sglang.REFUSALS)
"""Pages that are known and are not counted."""

METRICS_PATHS: Final = tuple(
    sorted({table.metrics_path for table in TABLES}, key=lambda path: (path == "/metrics", path))
)
"""Where a page may be, in the order in which to ask a server of an unknown engine.

`/metrics` stands last: trtllm-serve gives there, and forgets, what another reader wants.
"""


def spellings(name: str) -> tuple[str, ...]:
    """Return how a sample may be spelled: content negotiation and Ray turn the colon into an underscore."""
    return (name, name.replace(":", "_")) if ":" in name else (name,)


def wanted_names() -> dict[str, str]:
    """Return every spelling of every sample that some table needs, with the name that the tables use for it."""
    names = {PROCESS_START}
    names.update(*(table.names() for table in TABLES))
    for refusal in REFUSALS:
        names.update(refusal.shown_by, refusal.absent)
    return {spelling: name for name in sorted(names) for spelling in spellings(name)}
