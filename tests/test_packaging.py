"""What the wheel holds and what it asks for: the light agent stays light."""

import email.message
import email.parser
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "tokenmill_agent": "agents",
    "tokenmill_pipeline": "pipelines",
    "tokenmill_sql": "sql",
}
AGENT_DEPENDENCIES = {"kafka-python", "nvidia-ml-py", "prometheus-client"}
LOCKS = ("agent", "demo", "dev", "kubernetes", "pipeline")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Return the wheel, built from this checkout by the project's own backend."""
    target = tmp_path_factory.mktemp("wheel")
    program = f"from hatchling.build import build_wheel; print(build_wheel({str(target)!r}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    return zipfile.ZipFile(target / done.stdout.strip().splitlines()[-1])


def sources(package: str) -> set[str]:
    """Return the files of a package as a wheel should hold them."""
    folder = ROOT / PACKAGES[package]
    return {
        path.relative_to(folder).as_posix()
        for path in (folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    """Return the wheel's METADATA."""
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.parser.Parser().parsestr(wheel.read(name).decode())


def names(requirements: list[str]) -> set[str]:
    """Return the distributions that requirements name."""
    return {re.split(r"[\s\[<>=!~;]", requirement)[0].lower() for requirement in requirements}


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Every source file, SQL and TOML included, is in the wheel, and no test, script or stray file is."""
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert set().union(*map(sources, PACKAGES)) == found


def test_the_wheel_holds_the_sql_and_the_data(wheel: zipfile.ZipFile) -> None:
    """Files that are not Python travel with it."""
    suffixes = {Path(name).suffix for name in wheel.namelist() if ".dist-info/" not in name}

    assert {".py", ".sql", ".toml", ".typed"} <= suffixes


def test_the_base_install_is_the_agent(wheel: zipfile.ZipFile) -> None:
    """Without an extra the wheel asks for the agent's three packages and no more."""
    required = metadata(wheel).get_all("Requires-Dist", [])

    assert names([line for line in required if "extra ==" not in line]) == AGENT_DEPENDENCIES


def test_the_three_packages_bring_nothing_with_them() -> None:
    """The lock of the agent, resolved with everything that its packages need, holds these three alone."""
    assert locked("agent") == AGENT_DEPENDENCIES


def test_both_commands_are_installed(wheel: zipfile.ZipFile) -> None:
    """The wheel brings `tokenmill` and `tokenmill-agent`."""
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))

    assert {"tokenmill", "tokenmill-agent"} == set(
        re.findall(r"^([a-z-]+) = ", wheel.read(name).decode(), re.MULTILINE)
    )


def test_the_licence_travels_with_the_wheel(wheel: zipfile.ZipFile) -> None:
    """The licence is named and included."""
    assert metadata(wheel)["License-Expression"] == "Apache-2.0"
    assert any(name.endswith("/licenses/LICENSE") for name in wheel.namelist())


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name: str) -> None:
    """Each download can be held to its hash."""
    entries = re.split(r"\n(?=\S)", lock_text(name).strip())

    assert [] == [entry for entry in entries if "--hash=sha256:" not in entry and not entry.startswith("#")]


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_names_an_index(name: str) -> None:
    """Where packages come from is the machine's own affair."""
    assert "://" not in lock_text(name)


def test_the_locks_satisfy_what_is_asked_for() -> None:
    """Everything that pyproject.toml asks for is in the lock that serves it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    groups = [line for group in project["dependency-groups"].values() for line in group if isinstance(line, str)]
    base = names(project["project"]["dependencies"])

    assert base | names(extras["kubernetes"]) <= locked("kubernetes")
    assert base | names(extras["pipeline"]) <= locked("pipeline")
    assert locked("pipeline") | names(extras["demo"]) <= locked("demo")
    assert locked("demo") | names(groups) <= locked("dev")


def lock_text(name: str) -> str:
    """Return a lock file."""
    return (ROOT / "infra" / "locks" / f"{name}.txt").read_text(encoding="utf-8")


def locked(name: str) -> set[str]:
    """Return the distributions of a lock."""
    return set(re.findall(r"^([a-z0-9._-]+)==", lock_text(name), re.MULTILINE))
