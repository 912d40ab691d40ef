"""Which samples of a name count: what one page shows twice, for every rank or in pieces is brought down to one each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tokenmill_agent.servers.engine_table import EngineTable
from tokenmill_agent.servers.exposition import Labels, Sample, exact_seconds

Samples = Mapping[str, Mapping[Labels, str]]
"""The values of a page by sample name and labels, each label set once."""

INJECTED_BY_DYNAMO: Final = ("dynamo_", "worker_id", "model")
"""Labels that a Dynamo worker adds to its engine's series: a second copy of a series on the page may lack them."""

_NO_NUMBER: Final = 10**9


def once(samples: Sequence[Sample]) -> dict[str, dict[Labels, str]]:
    """Keep each name and label set once: a page that registers two collectors shows one series twice."""
    kept: dict[str, dict[Labels, str]] = {}
    for sample in samples:
        _keep(kept.setdefault(sample.name, {}), sample.labels, sample.value)
    return kept


def counting(samples: Samples, table: EngineTable) -> dict[str, dict[Labels, str]]:
    """Return the samples whose values `table` adds; a name of which none is left is not in it."""
    wanted = {name for names in table.counters.values() for name in names if name in samples}
    narrowed = {name: _narrowed(samples[name], table, table.keep_labels.get(name, {})) for name in sorted(wanted)}
    return {name: values for name, values in narrowed.items() if values}


def _narrowed(values: Mapping[Labels, str], table: EngineTable, keep: Mapping[str, str]) -> dict[Labels, str]:
    kept: dict[Labels, str] = {}
    for labels, value in values.items():
        if all((label, word) in labels for label, word in keep.items()):
            _keep(kept, _own(labels), value)
    return _without_fallback(_leaders(kept, table.leader_labels), table.fallback)


def _keep(kept: dict[Labels, str], labels: Labels, value: str) -> None:
    kept[labels] = _larger(kept[labels], value) if labels in kept else value


def _larger(first: str, second: str) -> str:
    # Two copies of one counter are read one after the other: the larger is the later.
    known, other = exact_seconds(first), exact_seconds(second)
    return second if known is None or (other is not None and other > known) else first


def _own(labels: Labels) -> Labels:
    """Return the labels that the engine itself gave."""
    if not any(name.startswith("dynamo_") for name, _ in labels):
        return labels
    return tuple((name, value) for name, value in labels if not _is_injected(name))


def _is_injected(name: str) -> bool:
    return name.startswith("dynamo_") or name in INJECTED_BY_DYNAMO


def _leaders(values: dict[Labels, str], leader_labels: Sequence[str]) -> dict[Labels, str]:
    """Keep of samples that differ only in `leader_labels` the one with the lowest numbers."""
    if not leader_labels:
        return values
    leaders: dict[Labels, tuple[Sequence[int], Labels]] = {}
    for labels in values:
        rest = tuple(pair for pair in labels if pair[0] not in leader_labels)
        candidate = (ranks_of(labels, leader_labels), labels)
        leaders[rest] = min(leaders.get(rest, candidate), candidate)
    return {labels: values[labels] for _, labels in leaders.values()}


def ranks_of(labels: Labels, leader_labels: Iterable[str]) -> tuple[int, ...]:
    """Return the numbers of these labels, in their order: 0 for one that is not there, a large one for no number."""
    given = dict(labels)
    texts = (given.get(label, "0") for label in leader_labels)
    return tuple(int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else _NO_NUMBER for text in texts)


def _without_fallback(values: dict[Labels, str], fallback: tuple[str, str] | None) -> dict[Labels, str]:
    if fallback is None:
        return values
    finer = {labels: value for labels, value in values.items() if fallback not in labels}
    return finer or values
