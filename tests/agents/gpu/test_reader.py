"""All GPUs of a node through the real pynvml: lost, hung and returning GPUs, and a driver that goes away."""

from collections.abc import Callable
from time import monotonic

import pytest

from tests.fake_nvml.build import FakeNvml
from tests.fake_nvml.remote import RemoteError, RemoteReader

Start = Callable[..., RemoteReader]


def until(reader: RemoteReader, wanted: Callable[[list[str]], bool]) -> list[str]:
    """Read until the states are as wanted, and return them."""
    deadline = monotonic() + 60
    while True:
        states = [reading["state"] for reading in reader.read(detail=False)]
        if wanted(states) or monotonic() > deadline:
            return states


def test_a_lost_gpu_leaves_the_others_be(fake_nvml: FakeNvml, remote: Start) -> None:
    """It has a row with a reason and no values; the other is read as before."""
    reader = remote()
    fake_nvml.write({"gpu0": "!15", "gpu1.power": 5})
    lost, other = reader.read()

    assert ("lost", None, None, ["gpu_lost"]) == (
        lost["state"],
        lost["energy_counter_millijoules"],
        lost["power_milliwatts"],
        lost["reasons"],
    )
    assert ("ok", 5) == (other["state"], other["power_milliwatts"])
    assert ["lost", "ok"] == [device["state"] for device in reader.devices()]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (15, "gpu_lost"),
        (16, "gpu_reset_required"),
        (17, "gpu_access_refused"),
        (28, "gpu_not_found"),
        (999, "gpu_unknown_error"),
    ],
)
def test_a_gpu_says_how_it_was_lost_and_is_read_again_when_it_is_back(
    fake_nvml: FakeNvml, remote: Start, code: int, reason: str
) -> None:
    """Its counter may begin at 0 again; it is passed on as it is, in the same generation."""
    reader = remote()
    fake_nvml.write({"gpu1": f"!{code}"})
    reasons = [reading["reasons"] for reading in reader.read(detail=False)]
    fake_nvml.write({"gpu1.energy": 3})

    assert [[], [reason]] == reasons
    assert ["ok", "ok"] == until(reader, lambda states: set(states) == {"ok"})
    assert (3, 0) == (reader.read(detail=False)[1]["energy_counter_millijoules"], reader.ask("nvml_generation"))


def test_a_lost_gpu_whose_energy_still_answers_is_lost(fake_nvml: FakeNvml, remote: Start) -> None:
    """One field that says that the GPU is gone decides for the whole reading."""
    reader = remote()
    fake_nvml.write({"gpu0.field.185.0": "!15", "gpu0.energy": 5})

    assert ("lost", None) == (
        reader.read(detail=False)[0]["state"],
        reader.read(detail=False)[0]["energy_counter_millijoules"],
    )


def test_a_gpu_that_returns_is_read_again(fake_nvml: FakeNvml, remote: Start) -> None:
    """It is looked for by its UUID, since its index may have moved."""
    reader = remote()
    fake_nvml.write({"gpu1": "!28"})

    assert ["ok", "lost"] == until(reader, lambda _states: "nvmlDeviceGetHandleByUUID 1" in fake_nvml.calls())

    fake_nvml.write({})

    assert ["ok", "ok"] == until(reader, lambda states: set(states) == {"ok"})


def test_a_gpu_that_never_opened_is_counted_and_tried_again(fake_nvml: FakeNvml, remote: Start) -> None:
    """It cannot be named, so it has no row, but it is expected."""
    fake_nvml.write({"gpu1": "!999"})
    reader = remote()

    assert (1, 2) == (len(reader.devices()), reader.ask("gpu_count"))

    fake_nvml.write({})

    assert ["ok", "ok"] == until(reader, lambda states: len(states) == 2)


def test_a_hung_gpu_costs_one_deadline_and_the_others_go_on(fake_nvml: FakeNvml, remote: Start) -> None:
    """The reader comes back, the GPU is marked, and later reads do not wait for it again."""
    reader = remote(deadline_seconds=1.0)
    fake_nvml.write({"call.nvmlDeviceGetFieldValues.gpu0": "~30"})
    first = reader.read(detail=False)
    fake_nvml.write({})

    assert [("hung", ["gpu_hung"]), ("ok", [])] == [(reading["state"], reading["reasons"]) for reading in first]
    assert ["hung", "ok"] == [reading["state"] for reading in reader.read(detail=False)]
    assert None is next(iter(reader.processes().values()))


def test_a_gpu_that_hung_is_read_again_when_it_answers(fake_nvml: FakeNvml, remote: Start) -> None:
    """What the late call gave is thrown away, the next reading counts."""
    reader = remote(deadline_seconds=0.2)
    fake_nvml.write({"call.nvmlDeviceGetFieldValues.gpu0": "~1"})
    reader.read(detail=False)
    fake_nvml.write({})

    assert ["ok", "ok"] == until(reader, lambda states: set(states) == {"ok"})


def test_a_changed_driver_ends_the_process(fake_nvml: FakeNvml, remote: Start) -> None:
    """A process keeps the library that it loaded: only a new one can go on."""
    reader = remote()
    fake_nvml.write({"gpu0": "!18"})
    with pytest.raises(RemoteError, match="supervisor") as raised:
        reader.read()

    assert "RestartNeededError" == raised.value.name


@pytest.mark.parametrize("state", [{"gpu0.field.83.0": "!18"}, {"call.nvmlDeviceGetFieldValues.gpu1": "!18"}])
def test_a_changed_driver_ends_the_process_wherever_it_shows(
    fake_nvml: FakeNvml, remote: Start, state: dict[str, str]
) -> None:
    """In one field's code, or in the batch of one GPU."""
    reader = remote()
    fake_nvml.write(state)
    with pytest.raises(RemoteError, match="supervisor") as raised:
        reader.read(detail=False)

    assert "RestartNeededError" == raised.value.name


@pytest.mark.parametrize("trouble", [{"gpu*": "!999"}, {"call.nvmlDeviceGetFieldValues": "~30"}])
def test_a_node_on_which_no_gpu_answers_ends_the_process(
    fake_nvml: FakeNvml, remote: Start, trouble: dict[str, str]
) -> None:
    """Access that was taken away, or calls that all hang: after a while the supervisor is to start it anew."""
    reader = remote(deadline_seconds=0.2, silent_seconds=0.5)
    fake_nvml.write(trouble)
    with pytest.raises(RemoteError, match="no GPU has answered") as raised:
        until(reader, lambda _states: False)

    assert "RestartNeededError" == raised.value.name


def test_a_driver_that_was_reloaded_is_initialised_anew(fake_nvml: FakeNvml, remote: Start) -> None:
    """Its GPUs are lost meanwhile; afterwards the generation is one higher, so that counters begin a new epoch."""
    reader = remote()
    fake_nvml.write({"gpu*": "!9", "call.nvmlInitWithFlags": "!9"})

    assert ["lost", "lost"] == until(reader, lambda states: states == ["lost", "lost"])
    assert 0 == reader.ask("nvml_generation")

    fake_nvml.write({"driver": "590.1"})

    assert ["ok", "ok"] == until(reader, lambda states: set(states) == {"ok"})
    assert (1, "590.1") == (reader.ask("nvml_generation"), reader.ask("driver_version"))


def test_every_failure_is_counted_by_call_and_code(fake_nvml: FakeNvml, remote: Start) -> None:
    """The telemetry learns which call failed how."""
    reader = remote()
    fake_nvml.write({"gpu0": "!15", "call.nvmlDeviceGetClockInfo": "!21"})
    reader.read()

    assert {("read", 15), ("nvmlDeviceGetClockInfo", 21)} <= {(call, code) for call, code in reader.ask("errors")}


def test_closing_lets_the_driver_go(fake_nvml: FakeNvml, remote: Start) -> None:
    """NVML is shut down once."""
    remote().ask("close")

    assert 1 == fake_nvml.calls().count("nvmlShutdown")
