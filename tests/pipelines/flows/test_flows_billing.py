"""The billing flow as it is declared; a real server runs it in tests/integration/test_prefect.py."""


def test_its_task_is_tried_again_and_never_cached() -> None:
    """A cached result would give a corrected bill its old rows."""
    from prefect.cache_policies import NO_CACHE

    from tokenmill_pipeline.flows import billing

    task = billing.load_bills

    assert NO_CACHE == task.cache_policy
    assert task.persist_result is False
    assert 3 == task.retries
