"""The build flow as it is declared; a real server runs it in tests/integration/test_prefect.py."""


def test_its_task_is_tried_again_and_never_cached() -> None:
    """A cached result would give a restated hour its old figures."""
    from prefect.cache_policies import NO_CACHE

    from tokenmill_pipeline.flows import build

    task = build.build_hours

    assert NO_CACHE == task.cache_policy
    assert task.persist_result is False
    assert 3 == task.retries
