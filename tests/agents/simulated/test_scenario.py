"""The invented nodes are possible ones."""

import pytest

from tokenmill_agent.config import SCENARIOS as NAMES
from tokenmill_agent.simulated.scenario import SCENARIOS, Scenario

every = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


def test_the_settings_name_every_scenario() -> None:
    """And no other."""
    assert NAMES == tuple(SCENARIOS)


@every
def test_no_gpu_is_held_twice(scenario: Scenario) -> None:
    """Replicas share no GPU and name none that is not there."""
    held = [gpu for deployment in scenario.deployments for replica in deployment.replicas for gpu in replica]

    assert len(set(held)) == len(held)
    assert set(held) <= set(range(scenario.gpu_count))


@every
def test_power_is_in_order(scenario: Scenario) -> None:
    """Idle below ready below full below the limit, with room for a board that draws more."""
    gpu = scenario.gpu

    assert gpu.idle_milliwatts < gpu.ready_milliwatts < gpu.full_milliwatts * 1.03 < gpu.power_limit_milliwatts


def test_one_model_runs_on_both_generations() -> None:
    """So that they can be compared."""
    models = [{deployment.model for deployment in scenario.deployments} for scenario in SCENARIOS.values()]

    assert {"llama-3.3-70b"} == models[0] & models[1]
    assert [9, 10] == [scenario.gpu.architecture for scenario in SCENARIOS.values()]
