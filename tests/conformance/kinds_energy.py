"""The kinds of cases about readings of power, energy and counters: what the agent sends, and what is published."""

import csv
from datetime import timedelta
from typing import Any, Final

from tests.conformance.cases import Case, CaseError, Fields
from tests.conformance.fleet import H0, HOUR_SECONDS, Unit, microseconds, node_of, product
from tests.conformance.kinds_rates import LATER, POWER, SKU, cost, one_unit, power
from tests.conformance.stage import ACCOUNT, PROVIDER, Stage
from tests.scripted import SECOND_US, ScriptedNode, server
from tokenmill_agent.gpu.energy import EnergyIntegrator

GAP_SECONDS: Final = 3.0
"""A gap in readings over this is not integrated where a case says nothing else; the agent's own bound."""
WINDOW_AT: Final = H0 + timedelta(minutes=10)
Readings = dict[str, list[tuple[float, float]]]


def trapezoid(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """Readings of the power of one GPU, and a window in which one replica holds it."""
    readings = {"0": _pairs(inputs.need("samples_offset_s_and_w"), "samples_offset_s_and_w")}
    return _window(inputs, readings, stage)


def trapezoid_sum(case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """Readings of several GPUs, in the case or in a file beside it."""
    if "file" in inputs:
        return _window(inputs, _power_file(case, inputs.get("file")), stage)
    given = inputs.need("samples_offset_s_and_w")
    readings = {name: _pairs(pairs, f"samples_offset_s_and_w.{name}") for name, pairs in given.items()}
    return _window(inputs, readings, stage)


def _window(inputs: Fields, readings: Readings, stage: Stage) -> dict[str, Any]:
    if "power_boundary" in inputs and inputs.choice("power_boundary", ("gpu_board",)) != "gpu_board":
        raise CaseError("readings of GPUs are of the boundary gpu_board")
    start, end = inputs.number("window_start_s"), inputs.number("window_end_s")
    gap_us = round(float(inputs.get("max_gap_s", GAP_SECONDS)) * SECOND_US)
    node = _metered(readings, start, end, gap_us)
    stage.ingest([node])
    stage.prices([product(SKU)], LATER)
    stage.build(LATER)
    total = stage.one("select * from marts.hourly_tokens_per_megawatt where model = 'm'")
    known = stage.one("select gpu_seconds_energy_known as s from marts.hourly_economics where model = 'm'")["s"]
    by_gpu = stage.rows(
        "select replica, sum(gpu_energy_joules) as joules from hourly.unit_economics "
        "where bucket = 'serving' group by all order by all"
    )
    joules = total["gpu_energy_joules"]
    per_gpu = joules / known if joules is not None and known else None
    sent = [watts for pairs in readings.values() for _, watts in pairs]
    return {
        "energy_j": joules,
        "energy_j_by_gpu": {row["replica"]: row["joules"] for row in by_gpu},
        "mean_power_w_time_weighted": per_gpu,
        "mean_power_w_per_gpu": per_gpu,
        "mean_power_w_all_gpus": None if per_gpu is None else per_gpu * len(by_gpu),
        # Not a figure of the product, whose means are over time: it stands beside it to be told from it.
        "mean_power_w_of_samples": sum(sent) / len(sent),
        "gpu_count": len(by_gpu),
        "coverage": total["energy_coverage"],
        "reason": frozenset(total["reasons"]),
    }


def _metered(readings: Readings, start: float, end: float, gap_us: int) -> ScriptedNode:
    """Return a node whose GPUs a replica each held in the window, and whose agent integrated the readings."""
    first_us = microseconds(WINDOW_AT)
    node = ScriptedNode(
        name="node-case",
        gpu_count=len(readings),
        provider=PROVIDER,
        account=ACCOUNT,
        gpu_name=f"Case {SKU}",
        boot_at_us=first_us - HOUR_SECONDS * SECOND_US,
        power_limit_milliwatts=None,  # type: ignore[arg-type]  # a case's power is whatever it says
    )
    meters = [EnergyIntegrator(max_gap_us=gap_us) for _ in readings]
    at = {name: dict(pairs) for name, pairs in readings.items()}
    for seconds in sorted({start, end, *(moment for pairs in at.values() for moment in pairs)}):
        at_us = first_us + round(seconds * SECOND_US)
        rows: list[dict[str, Any]] = []
        placements = []
        for gpu, (name, pairs) in enumerate(at.items()):
            if seconds in pairs:
                milliwatts = round(pairs[seconds] * 1000)
                meters[gpu].add(at_us, milliwatts)
                rows.append(
                    {
                        "gpu": gpu,
                        "at_us": at_us,
                        "energy_integrated_millijoules": meters[gpu].energy_millijoules,
                        "integrated_us": meters[gpu].covered_us,
                        "power_mean_milliwatts": milliwatts,
                    }
                )
            else:
                rows.append({"gpu": gpu, "at_us": at_us, "reason": "power_not_read"})
            if start <= seconds <= end:
                told = {
                    "replica": name,
                    "model_served": "m",
                    "process_started_at_us": first_us + round(start * SECOND_US),
                }
                placements.append(node.placement(gpu, at_us, f"d{name}", **told))
            else:
                placements.append(node.placement(gpu, at_us, None))
        node.gpu_rows(rows, placements=placements)
    return node


def _pairs(given: Any, place: str) -> list[tuple[float, float]]:
    if not isinstance(given, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in given):
        raise CaseError(f"inputs.{place}: expected a list of pairs")
    return [(float(first), float(second)) for first, second in given]


def _power_file(case: Case, name: Any) -> Readings:
    readings: Readings = {}
    with case.path(name).open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            readings.setdefault(row["gpu_index"], []).append((float(row["offset_s"]), float(row["board_power_w"])))
    return readings


def coverage(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """A part of an hour: tokens and energy of the same seconds."""
    window, covered = inputs.number("window_s"), inputs.number("covered_s")
    tokens, joules = round(inputs.number("tok")), inputs.number("energy_j")
    if not 0 < covered <= window <= HOUR_SECONDS:
        raise CaseError("inputs.covered_s is a part of inputs.window_s, which lies in one hour")
    unit = Unit(name="u", output_tokens=tokens, joules=joules, seconds=window, covered_seconds=covered)
    one_unit(stage, unit, [])
    found = power(stage)
    return {"coverage": found["energy_coverage"], "tok_s_per_mw": found["tokens_per_second_per_megawatt_gpu"]}


def unit_identity(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """Tokens per second per megawatt, tokens per megawatt-hour and tokens per joule are three numbers."""
    tokens = 1_000_000
    column = POWER["gpu_board"]
    one_unit(stage, Unit(name="u", output_tokens=tokens, joules=inputs.number("joules_per_tok") * tokens), [])
    found = power(stage)
    per_second = found[f"tokens_per_second_per_megawatt_{column}"]
    return {
        "tok_s_per_mw": per_second,
        "tok_per_mwh": found[f"tokens_per_megawatt_hour_{column}"],
        "tok_per_j": None if per_second is None else per_second / 1e6,
    }


def counter_delta(_case: Case, inputs: Fields, stage: Stage) -> dict[str, Any]:
    """A counter of tokens; where it falls a new process of its server has begun between the two looks."""
    pairs = _pairs(inputs.need("samples_s_and_value"), "samples_s_and_value")
    unit = Unit(name="u", output_tokens=0, seconds=HOUR_SECONDS)
    node = node_of("node-case", SKU, [unit])
    node.sent = [message for message in node.sent if "gpu" in message.topic]
    first_us = microseconds(WINDOW_AT)
    started_us, last = first_us - HOUR_SECONDS * SECOND_US, None
    for seconds, value in pairs:
        at_us = first_us + round(seconds * SECOND_US)
        if last is not None and value < last[1]:
            started_us = (first_us + round(last[0] * SECOND_US) + at_us) // 2
        life = server("u", started_us, replica="u", model_served="m")
        node.token_rows([life], [{"at_us": at_us, "input_tokens": 0, "output_tokens": round(value)}])
        last = seconds, value
    stage.ingest([node])
    stage.prices([product(SKU)], LATER)
    stage.build(LATER)
    lives = stage.one("select count(distinct server_id) as n from fleet.server_intervals")["n"]
    return {"increase": cost(stage)["total_tokens"], "resets": lives - 1}
