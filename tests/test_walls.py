"""The walls between the packages: what may import what, seen by running it and by asking the linter."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("duckdb", "polars", "prefect", "msgspec", "rich", "tokenmill_pipeline", "tokenmill_sql")
AGENT = ROOT / "agents" / "tokenmill_agent"
PIPELINE = ROOT / "pipelines" / "tokenmill_pipeline"
SQL = ROOT / "sql" / "tokenmill_sql"


def loaded_by(module: str, names: tuple[str, ...]) -> set[str]:
    """Return those of `names` that importing a module brings in, in a fresh interpreter."""
    program = f"import importlib, sys; importlib.import_module({module!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(names) & set(done.stdout.split())


def modules(package: Path) -> list[str]:
    """Return the name of every module of a package."""
    paths = (path.relative_to(package.parent).with_suffix("") for path in sorted(package.rglob("*.py")))
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def lint(path: Path, source: str) -> str:
    """Return what the linter says of a source, if it stood at `path`."""
    command = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", str(path), "-"]
    done = subprocess.run(command, input=source, check=False, capture_output=True, text=True, cwd=ROOT)
    return done.stdout


def test_the_agent_imports_nothing_heavy() -> None:
    """All of the agent's modules together bring in none of the pipeline's packages."""
    everything = "; ".join(f"import {name}" for name in modules(AGENT) if not name.endswith("__main__"))
    program = f"import sys; {everything}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert set() == set(HEAVY) & set(done.stdout.split())


def test_the_help_of_the_pipeline_imports_nothing_heavy() -> None:
    """`tokenmill --help` is quick because a command imports what is heavy only when it runs."""
    assert set() == loaded_by("tokenmill_pipeline.cli", ("duckdb", "polars", "prefect", "msgspec", "rich", "kafka"))


def test_every_command_but_the_flows_works_without_prefect() -> None:
    """No module outside flows brings in Prefect."""
    outside = [name for name in modules(PIPELINE) if ".flows." not in name and not name.endswith("__main__")]
    program = "import sys; " + "; ".join(f"import {name}" for name in outside) + "; print('prefect' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert "False" == done.stdout.strip()


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (AGENT / "sampler.py", "import duckdb\n"),
        (AGENT / "sampler.py", "import polars\n"),
        (AGENT / "sampler.py", "import msgspec\n"),
        (AGENT / "sampler.py", "import tokenmill_pipeline.landing\n"),
        (AGENT / "sampler.py", "import tokenmill_sql\n"),
        (AGENT / "sampler.py", "import pynvml\n"),
        (SQL / "reader.py", "import duckdb\n"),
        (SQL / "reader.py", "from tokenmill_pipeline import warehouse\n"),
        (PIPELINE / "decode.py", "from prefect import flow\n"),
        (PIPELINE / "decode.py", "from tokenmill_agent.gpu import nvml\n"),
        (PIPELINE / "decode.py", "import pynvml\n"),
    ],
)
def test_the_linter_refuses_what_crosses_a_wall(path: Path, source: str) -> None:
    """An import that does not belong in a room is named with the reason."""
    assert "TID251" in lint(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (AGENT / "gpu" / "nvml.py", "import pynvml\n"),
        (
            PIPELINE / "decode.py",
            "import duckdb\nimport polars\nimport tokenmill_sql\nimport tokenmill_agent.records\n",
        ),
        (PIPELINE / "flows" / "build.py", "from prefect import flow\n"),
    ],
)
def test_the_linter_lets_each_thing_be_in_its_own_room(path: Path, source: str) -> None:
    """The same imports are right where they are at home."""
    assert "TID251" not in lint(path, source)
