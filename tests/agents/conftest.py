"""Fixtures of the agent's tests: the stand-in for NVML, a reader on it, and a broker from a package."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agents.small_broker import SmallBroker
from tests.fake_nvml.build import FakeNvml, build, compiler
from tests.fake_nvml.remote import RemoteReader


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the compiled stand-in for libnvidia-ml.so.1."""
    if compiler() is None:
        pytest.skip("NOT RUN: no C compiler (cc) for the stand-in of libnvidia-ml.so.1; install gcc")
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def fake_nvml(tmp_path: Path, nvml_library: Path) -> FakeNvml:
    """Return a stand-in with a state of its own."""
    return FakeNvml(tmp_path, nvml_library)


@pytest.fixture
def remote(fake_nvml: FakeNvml) -> Iterator[Callable[..., RemoteReader]]:
    """Return what starts the real reader on the stand-in; every one that was started is ended."""
    started: list[RemoteReader] = []

    def start(fake: FakeNvml = fake_nvml, **options: float) -> RemoteReader:
        reader = RemoteReader(fake, **options)
        started.append(reader)
        return reader

    yield start
    for reader in started:
        reader.end()


@pytest.fixture
def small_broker(tmp_path: Path) -> Iterator[SmallBroker]:
    """Return a broker that needs no Java, running."""
    broker = SmallBroker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.stop()
