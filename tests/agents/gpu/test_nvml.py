"""What one GPU gives through the real pynvml, on a stand-in for the driver's library."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_nvml.build import FakeNvml, build
from tests.fake_nvml.remote import RemoteError, RemoteReader

Start = Callable[..., RemoteReader]


class TestInventory:
    """What a GPU is."""

    def test_it_is_described_as_the_driver_names_it(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """Name, architecture, capability, PCI ids, memory and limit are kept raw: nobody derives a generation here."""
        fake_nvml.write(
            {
                "count": 1,
                "gpu0.name": "NVIDIA B200",
                "gpu0.architecture": 10,
                "gpu0.capability": "10 0",
                "gpu0.pci": "290110de 199910de",
                "gpu0.limit": 1_000_000,
                "gpu0.memory": "192265846784 5",
            }
        )

        assert {
            "gpu_uuid": "GPU-00000000-0000-4000-8000-000000000000",
            "name": "NVIDIA B200",
            "architecture": 10,
            "compute_capability": "10.0",
            "pci_device_id": "2901",
            "pci_subsystem_id": "1999",
            "memory_total_bytes": 192_265_846_784,
            "power_limit_milliwatts": 1_000_000,
            "mig_enabled": False,
            "state": "ok",
            "energy_scope": "gpu",
        } == remote().devices()[0]

    def test_a_name_that_is_no_text_is_missing(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """Bytes that are no UTF-8 cost the name, not the GPU."""
        fake_nvml.write({"count": 1, "gpu0.name": r"NVIDIA \xff\xfe"})

        assert None is remote().devices()[0]["name"]

    def test_what_a_board_does_not_tell_is_missing(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """A call that is not supported leaves its field empty."""
        fake_nvml.write(
            {"call.nvmlDeviceGetPciInfo_v3": "!3", "call.nvmlDeviceGetMemoryInfo": "!3", "gpu*.field.190.0": "!3"}
        )
        device = remote().devices()[1]

        assert (None, None, 700_000) == (
            device["pci_device_id"],
            device["memory_total_bytes"],
            device["power_limit_milliwatts"],
        )


class TestEnergyAndPower:
    """What is read every second."""

    def test_counter_and_power_come_from_one_batched_call(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """A reading without detail asks the driver exactly once."""
        fake_nvml.write({"count": 1, "gpu0.energy": 126_272_101_025, "gpu0.power": 350_000})
        reader = remote()
        before = len(fake_nvml.calls())
        reading = reader.read(detail=False)[0]

        assert (126_272_101_025, 350_000, []) == (
            reading["energy_counter_millijoules"],
            reading["power_milliwatts"],
            reading["reasons"],
        )
        assert ["nvmlDeviceGetFieldValues 0"] == fake_nvml.calls()[before:]

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            (3, "energy_not_supported"),
            (4, "energy_no_permission"),
            (10, "energy_timeout"),
            (21, "energy_no_data"),
            (777, "energy_nvml_777"),
        ],
    )
    def test_a_field_that_fails_is_missing_with_its_reason(
        self, fake_nvml: FakeNvml, remote: Start, code: int, reason: str
    ) -> None:
        """The call succeeds, one field does not: power goes on, energy is None and never 0."""
        fake_nvml.write({"count": 1})
        reader = remote()
        fake_nvml.write({"count": 1, "gpu0.field.83.0": f"!{code}"})
        reading = reader.read(detail=False)[0]

        assert (None, 100_000, "ok", [reason]) == (
            reading["energy_counter_millijoules"],
            reading["power_milliwatts"],
            reading["state"],
            reading["reasons"],
        )

    def test_a_batch_that_fails_whole_leaves_the_gpu_be(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """Every field has the batch's code as its reason, and the next batch counts."""
        reader = remote()
        fake_nvml.write({"call.nvmlDeviceGetFieldValues.gpu0": "!10"})
        failed, other = reader.read(detail=False)
        fake_nvml.write({})

        assert ("ok", ["energy_timeout", "power_timeout"], []) == (
            failed["state"],
            failed["reasons"],
            other["reasons"],
        )
        assert [[], []] == [reading["reasons"] for reading in reader.read(detail=False)]

    def test_a_field_that_fails_for_now_is_asked_for_again(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """Only an answer that says never is remembered from the probe."""
        for_now = {"gpu*.field.83.0": "!21", "gpu*.field.191.0": "!3", "call.nvmlDeviceGetTotalEnergyConsumption": "!3"}
        fake_nvml.write({"count": 1, **for_now})
        reader = remote()
        first = reader.read(detail=False)[0]["reasons"]
        fake_nvml.write({"count": 1, "gpu0.energy": 8})

        assert (["energy_no_data"], 8) == (first, reader.read(detail=False)[0]["energy_counter_millijoules"])

    @pytest.mark.parametrize("kind", ["f64 nan", "f64 -1", "kind9", f"u64 {2**64 - 1}"])
    def test_a_number_that_is_none_is_absurd(self, fake_nvml: FakeNvml, remote: Start, kind: str) -> None:
        """Not a number, negative, of an unknown type or beyond 63 bits: set aside with a reason."""
        fake_nvml.write({"count": 1, "gpu0.field.83.0": kind})
        reading = remote().read(detail=False)[0]

        assert (None, ["energy_absurd"]) == (reading["energy_counter_millijoules"], reading["reasons"])

    def test_a_board_without_the_field_is_read_by_the_call(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """Energy falls back to nvmlDeviceGetTotalEnergyConsumption, power to nvmlDeviceGetPowerUsage."""
        unsupported = {f"gpu*.field.{field}.0": "!3" for field in (83, 191, 185, 186)}
        fake_nvml.write({**unsupported, "gpu*.energy": 7, "gpu*.power": 9})
        reading = remote().read(detail=False)[0]

        assert (7, 9) == (reading["energy_counter_millijoules"], reading["power_milliwatts"])

    def test_a_board_that_counts_no_energy_says_so(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """Where neither field nor call answers, the reason is in every reading and nothing is asked for again."""
        fake_nvml.write(
            {"gpu*.field.83.0": "!3", "gpu*.field.191.0": "!3", "call.nvmlDeviceGetTotalEnergyConsumption": "!3"}
        )
        reader = remote()
        before = len(fake_nvml.calls())
        reading = reader.read(detail=False)[0]

        assert (None, ["energy_not_supported"]) == (reading["energy_counter_millijoules"], reading["reasons"])
        assert {"nvmlDeviceGetFieldValues"} == {call.partition(" ")[0] for call in fake_nvml.calls()[before:]}

    def test_a_counter_of_the_module_is_marked(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """A superchip whose counter covers CPU and GPU says module, and its power is of the module too."""
        fake_nvml.write(
            {
                "count": 1,
                "gpu0.name": "NVIDIA GH200 480GB",
                "gpu0.field.191.1": "u64 9000",
                "gpu0.field.185.1": 640_000,
                "gpu0.field.190.1": 900_000,
            }
        )
        reader = remote()
        device, reading = reader.devices()[0], reader.read()[0]

        assert ("module", 900_000) == (device["energy_scope"], device["power_limit_milliwatts"])
        assert (9000, 640_000) == (reading["energy_counter_millijoules"], reading["power_milliwatts"])

    def test_a_falling_counter_is_passed_on_as_it_is(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """A reset is decided by who reads the rows: the agent neither hides nor repairs it."""
        fake_nvml.write({"count": 1, "gpu0.energy": 5_000_000})
        reader = remote()
        before = reader.read(detail=False)[0]["energy_counter_millijoules"]
        fake_nvml.write({"count": 1, "gpu0.energy": 12})

        assert (5_000_000, 12) == (before, reader.read(detail=False)[0]["energy_counter_millijoules"])


class TestDetail:
    """What is read once a row."""

    def test_utilisation_memory_clock_and_heat_are_read(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """The details come beside energy and power, throttled time from the batch."""
        fake_nvml.write(
            {
                "gpu*.utilization": 87,
                "gpu*.memory": "100 60",
                "gpu*.clock": 1755,
                "gpu*.temperature": 66,
                "gpu*.field.74.0": "u64 12345",
            }
        )

        assert {
            "sm_utilization_percent": 87,
            "memory_used_bytes": 60,
            "sm_clock_mhz": 1755,
            "temperature_celsius": 66,
            "power_capped_ns": 12345,
        } == remote().read()[0]["detail"]

    def test_a_detail_that_is_not_supported_is_not_asked_for_again(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """MIG has no utilisation: it is None, and the driver is asked once for each GPU."""
        fake_nvml.write({"call.nvmlDeviceGetUtilizationRates": "!3"})
        reader = remote()

        assert [None, None] == [reading["detail"]["sm_utilization_percent"] for reading in reader.read()]
        assert [None, None] == [reading["detail"]["sm_utilization_percent"] for reading in reader.read()]
        assert 2 == sum(call.startswith("nvmlDeviceGetUtilizationRates") for call in fake_nvml.calls())

    def test_a_new_limit_is_seen(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """A power cap that is set later shows in the inventory."""
        reader = remote()
        fake_nvml.write({"gpu*.limit": 500_000})
        reader.read()

        assert 500_000 == reader.devices()[0]["power_limit_milliwatts"]


class TestOldLibraries:
    """A driver that lacks functions which newer ones have."""

    @pytest.fixture
    def old(self, tmp_path: Path, nvml_library: Path) -> FakeNvml:  # noqa: ARG002 - asks for the compiler
        """Return a library without the batched call and the newest spellings."""
        missing = (
            "nvmlDeviceGetFieldValues",
            "nvmlDeviceGetTemperatureV",
            "nvmlDeviceGetComputeRunningProcesses_v3",
            "nvmlDeviceGetMigMode",
        )
        return FakeNvml(tmp_path, build(tmp_path / "library", without=missing))

    def test_single_calls_replace_the_batch(self, old: FakeNvml, remote: Start) -> None:
        """Energy, power, limit and temperature come from the calls that exist."""
        old.write({"gpu*.energy": 4, "gpu*.power": 6, "gpu*.temperature": 51, "gpu*.limit": 8})
        reader = remote(old)
        reading = reader.read()[0]

        assert (4, 6, 51, None) == (
            reading["energy_counter_millijoules"],
            reading["power_milliwatts"],
            reading["detail"]["temperature_celsius"],
            reading["detail"]["power_capped_ns"],
        )
        assert 8 == reader.devices()[0]["power_limit_milliwatts"]

    def test_processes_are_asked_for_in_the_older_form(self, old: FakeNvml, remote: Start) -> None:
        """The second form of the process list is asked where the third is missing."""
        old.write({"count": 1, "gpu0.process.0": "42 1000"})

        assert [[{"pid": 42, "used_memory_bytes": 1000, "mig_uuid": None}]] == list(remote(old).processes().values())


class TestProcesses:
    """What computes on a GPU."""

    def test_each_process_has_its_memory(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """Memory that the driver does not know is None; a GPU without processes has an empty list."""
        fake_nvml.write({"gpu0.process.0": "42 1000", "gpu0.process.1": "43 unknown"})
        first, second = remote().processes().values()

        assert [(42, 1000), (43, None)] == [(process["pid"], process["used_memory_bytes"]) for process in first]
        assert [] == second

    def test_a_list_that_may_not_be_read_is_unknown(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """No permission is None: not looked is not the same as empty."""
        fake_nvml.write({"count": 1, "call.nvmlDeviceGetComputeRunningProcesses_v3": "!4"})

        assert [None] == list(remote().processes().values())

    def test_a_board_that_is_split_is_one_row(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """Two instances of one GPU share its power: neither has a row, and the GPU has one."""
        split = {"count": 2, "gpu0.mig.0": "MIG-a", "gpu0.mig.1": "MIG-b", "gpu0.power": 600_000, "gpu1.power": 80_000}
        fake_nvml.write(split)
        readings = remote().read()

        assert [600_000, 80_000] == [reading["power_milliwatts"] for reading in readings]
        assert 2 == len({reading["gpu_uuid"] for reading in readings})

    def test_mig_instances_carry_their_own_processes(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """The GPU is marked, each process names its instance, and the GPU's energy stays one counter."""
        fake_nvml.write(
            {
                "count": 1,
                "gpu0.energy": 5,
                "gpu0.mig.0": "MIG-a",
                "gpu0.mig.2": "MIG-c",
                "gpu0.mig.0.process.0": "7 10",
                "gpu0.mig.2.process.0": "8 20",
            }
        )
        reader = remote()
        (processes,) = reader.processes().values()

        assert [(7, "MIG-a"), (8, "MIG-c")] == [(process["pid"], process["mig_uuid"]) for process in processes]
        assert [True] == [device["mig_enabled"] for device in reader.devices()]
        assert [5] == [reading["energy_counter_millijoules"] for reading in reader.read()]


class TestStart:
    """What a person reads where NVML cannot be used."""

    @pytest.mark.parametrize(
        ("code", "error", "remedy"),
        [
            (4, "TokenmillError", "run the agent as root"),
            (9, "TokenmillError", "modprobe nvidia"),
            (12, "TokenmillError", "--simulate"),
            (17, "TokenmillError", "start the container anew"),
            (18, "RestartNeededError", "supervisor"),
            (777, "TokenmillError", "code 777"),
        ],
    )
    def test_a_driver_that_refuses_is_named_with_a_remedy(
        self, fake_nvml: FakeNvml, remote: Start, code: int, error: str, remedy: str
    ) -> None:
        """Every code gives one sentence that says what to do."""
        fake_nvml.write({"call.nvmlInitWithFlags": f"!{code}"})
        with pytest.raises(RemoteError, match=remedy) as raised:
            remote()

        assert error == raised.value.name

    def test_a_driver_without_a_version_is_read_all_the_same(self, fake_nvml: FakeNvml, remote: Start) -> None:
        """The version is None, the GPUs are there."""
        fake_nvml.write({"call.nvmlSystemGetDriverVersion": "!3"})
        reader = remote()

        assert (None, 2) == (reader.ask("driver_version"), len(reader.read()))
