"""Compiles the stand-in for libnvidia-ml.so.1 and writes what it answers from.

fake = FakeNvml(tmp_path, library); fake.write({"gpu0.power": 350_000, "gpu1": "!15"})
subprocess.run([...], env=fake.environ())
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("fake_nvml.c")
SONAME: Final = "libnvidia-ml.so.1"


def compiler() -> str | None:
    """Return a C compiler, None where there is none."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def build(directory: Path, *, without: Sequence[str] = ()) -> Path:
    """Compile the library into `directory` and return the directory; functions in `without` cannot be found in it."""
    directory.mkdir(parents=True, exist_ok=True)
    script = directory / "symbols.map"
    script.write_text("{ local: " + "".join(f"{name}; " for name in without) + "no_such_symbol; };")
    flags = ("-O1", "-shared", "-fPIC", f"-Wl,-soname,{SONAME}", f"-Wl,--version-script={script}")
    subprocess.run(
        [compiler() or "cc", *flags, "-o", str(directory / SONAME), str(SOURCE), "-lpthread"],
        check=True,
        capture_output=True,
    )
    return directory


class FakeNvml:
    """One state file, and the environment of a process that is to load the library."""

    def __init__(self, directory: Path, library: Path) -> None:
        """Answer with the library's defaults: two GPUs of 100 W."""
        self._state = directory / "nvml.state"
        self._calls = directory / "nvml.calls"
        self._library = library
        self.write({})

    def write(self, state: Mapping[str, object]) -> None:
        """Replace the whole state at once, so that no call sees half of it."""
        beside = self._state.with_suffix(".tmp")
        beside.write_text("".join(f"{key} = {value}\n" for key, value in state.items()))
        beside.replace(self._state)

    def environ(self) -> dict[str, str]:
        """Return the environment in which pynvml finds this library."""
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self._library),
            "FAKE_NVML_STATE": str(self._state),
            "FAKE_NVML_CALLS": str(self._calls),
        }

    def calls(self) -> list[str]:
        """Return every call so far: a function's name, and the GPU after a space where it is of one."""
        return self._calls.read_text().splitlines() if self._calls.exists() else []
