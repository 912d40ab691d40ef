"""What is known of a node, from several sources."""

from tokenmill_agent.identity.learn import learn, learn_beside, overlay
from tokenmill_agent.records import Identity

CLOUD = Identity(provider="aws", region="r", instance_id="i-1")
CLUSTER = Identity(region="other", provider_id="aws:///z/i-1", instance_type="p5")


def test_what_is_above_wins_where_it_says_something() -> None:
    """None covers nothing."""
    assert Identity(provider="mine", region="r", instance_id="i-1") == overlay(CLOUD, Identity(provider="mine"))


def test_configuration_wins_over_the_cloud_and_the_cloud_over_the_cluster() -> None:
    """Each fills what the ones before it left open."""
    assert Identity(
        provider="mine", region="r", instance_id="i-1", provider_id="aws:///z/i-1", instance_type="p5"
    ) == learn(Identity(provider="mine"), [lambda: CLOUD, lambda: CLUSTER])


def test_a_source_that_does_not_know_hides_nothing() -> None:
    """A service that is not there is passed over."""
    assert CLUSTER == learn(Identity(), [lambda: None, lambda: CLUSTER])


def test_it_is_asked_again_until_the_machine_is_known() -> None:
    """A service that comes up after the agent is still heard."""
    answers = iter([None, None, CLOUD, None])
    told: list[Identity] = []
    learn_beside(Identity(rack="r1"), (lambda: next(answers),), told.append, again_seconds=(0.0,) * 9).join(60)

    assert [None, None, "i-1"] == [identity.instance_id for identity in told]
    assert {"r1"} == {identity.rack for identity in told}
