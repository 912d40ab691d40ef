"""Writes trees of small files as the kernel shows them."""

from collections.abc import Mapping
from pathlib import Path


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Write the files below `root` and return it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def hwmon(number: int, label: str, microwatts: str, *, kind: str = "average") -> dict[str, str]:
    """Return the files of one meter as the driver of ACPI power meters lays them out."""
    folder = f"class/hwmon/hwmon{number}/device"
    return {f"{folder}/power1_oem_info": f"{label}\n", f"{folder}/power1_{kind}": f"{microwatts}\n"}


def rapl(zone: str, name: str, microjoules: str, *, range_microjoules: str | None = "262143328850") -> dict[str, str]:
    """Return the files of one counter."""
    folder = f"class/powercap/{zone}"
    files = {f"{folder}/name": f"{name}\n", f"{folder}/energy_uj": f"{microjoules}\n"}
    if range_microjoules is not None:
        files[f"{folder}/max_energy_range_uj"] = f"{range_microjoules}\n"
    return files
