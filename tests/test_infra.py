"""What lies under infra/ fits what the project installs."""

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNITS = sorted((ROOT / "infra").glob("*/*.service"))
DOCKERFILES = sorted((ROOT / "infra" / "docker").glob("*.Dockerfile"))


def unit(path: Path) -> configparser.ConfigParser:
    """Return a unit file; a key may stand in it more than once."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_a_command_that_is_installed(path: Path) -> None:
    """The program of a unit is one that the lock or the wheel installs."""
    program = Path(unit(path)["Service"]["ExecStart"].split()[0])

    assert "/opt/tokenmill/bin" == str(program.parent)
    assert (Path(sys.executable).parent / program.name).exists()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_a_unit(path: Path, tmp_path: Path) -> None:
    """The check that systemd brings finds nothing to say."""
    local = path.read_text(encoding="utf-8").replace("/opt/tokenmill/bin", str(Path(sys.executable).parent))
    local = re.sub(r"^(User|EnvironmentFile|WorkingDirectory|SupplementaryGroups)=.*\n", "", local, flags=re.MULTILINE)
    (tmp_path / path.name).write_text(local, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / path.name)],
        check=False,
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if path.name in line]

    assert [] == said


def test_the_agents_unit_looks_before_it_starts_and_is_closed() -> None:
    """What is found stands in the journal; the agent has two rights, and may see devices and other users' processes."""
    service = unit(ROOT / "infra" / "systemd" / "tokenmill-agent.service")["Service"]

    assert service["ExecStartPre"] == "-" + service["ExecStart"].removesuffix("run") + "check"
    assert ("yes", "strict", "CAP_SYS_PTRACE CAP_DAC_READ_SEARCH") == tuple(
        service[key] for key in ("NoNewPrivileges", "ProtectSystem", "CapabilityBoundingSet")
    )
    # Each of these would take from it what it reads.
    assert not {"PrivateDevices", "DevicePolicy", "ProtectClock", "ProtectProc", "PrivateNetwork"} & set(service)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_rates_the_agents_unit_as_safe() -> None:
    """Its exposure, 0 to 10, is below 3."""
    path = str(ROOT / "infra" / "systemd" / "tokenmill-agent.service")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=30", path],
        check=False,
        capture_output=True,
        text=True,
    )

    assert 0 == done.returncode, done.stdout[-200:]


def test_the_example_environment_is_understood() -> None:
    """Every variable of it is one that the agent knows, and has a value that it takes."""
    from tokenmill_agent.config import load

    lines = (ROOT / "infra" / "systemd" / "agent.env.example").read_text(encoding="utf-8").splitlines()
    environ = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    found = load(None, environ=environ, agent_flags={}, kafka_flags={}).agent

    assert ("gpu-node-17", 8, 262_144) == (found.node, found.gpu_count_expected, found.spool_drain_bytes_per_second)


def test_the_agents_image_holds_the_agent_alone_and_runs_it_without_rights() -> None:
    """Only locks and the agent's sources are copied, dependencies by hash, and the last user is not root."""
    text = (ROOT / "infra" / "docker" / "agent.Dockerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for name in line.split()}

    assert {"pyproject.toml", "README.md", "LICENSE", "agents"} == {
        name for name in copied if not name.startswith("infra/locks/")
    }
    assert text.count("pip install") == text.count("--no-deps")
    assert "--require-hashes" in text
    assert ["tokenmill"] == re.findall(r"^USER (.+)$", text, re.MULTILINE)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_an_image_copies_exists(path: Path) -> None:
    """Every source of a COPY from the context is a file of the repository."""
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", path.read_text(encoding="utf-8"), re.MULTILINE)
    missing = [name for line in copies for name in line.split() if not (ROOT / name).exists()]

    assert copies
    assert [] == missing


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_builds_its_wheel_from_what_it_copies(path: Path, tmp_path: Path) -> None:
    """The copied files alone make a wheel with the packages that the image is for."""
    copies = re.findall(r"^COPY (?!--from|infra)(.+) \S+$", path.read_text(encoding="utf-8"), re.MULTILINE)
    for name in (name for line in copies for name in line.split()):
        source = ROOT / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    program = "from hatchling.build import build_wheel; print(build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    with zipfile.ZipFile(tmp_path / done.stdout.strip().splitlines()[-1]) as wheel:
        found = {name.partition("/")[0] for name in wheel.namelist() if name.startswith("tokenmill_")}

    wanted = (
        {"tokenmill_agent"}
        if path.name.startswith("agent")
        else {"tokenmill_agent", "tokenmill_pipeline", "tokenmill_sql"}
    )
    assert wanted == found


def test_the_server_environment_is_what_the_flows_set() -> None:
    """The production server and the local one have the same switches."""
    from tokenmill_pipeline.flows import ENVIRONMENT

    lines = (ROOT / "infra" / "prefect" / "server.env").read_text(encoding="utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    assert {name: value for name, value in ENVIRONMENT.items() if name in found} == {
        name: value for name, value in found.items() if name != "PREFECT_HOME"
    }


def test_python_of_the_images_is_supported() -> None:
    """The images' Python is one that the project allows."""
    floor = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    used = {match for path in DOCKERFILES for match in re.findall(r"python:3\.(\d+)-slim", path.read_text("utf-8"))}

    assert all(int(minor) >= int(floor.removeprefix(">=3.")) for minor in used)
