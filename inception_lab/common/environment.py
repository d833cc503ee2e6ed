"""What a result depends on beside what was asked for: versions, machine, git commit."""

import datetime
import os
import platform
import subprocess
from importlib import metadata

import torch

from inception_lab.common.files import PACKAGE

PACKAGES = ("inception-lab", "torch", "torchvision", "lightning-fabric", "torchmetrics", "safetensors", "numpy")


def environment(device: torch.device, processes: int, data: dict) -> dict:
    """What a run depends on beside its recipe: versions, machine, git commit, data."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "system": platform.system(),
        "device": f"{device.type}, {name}",
        "processes": processes,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "git_commit": git_commit(),
        "data": data,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The commit of the checkout that this library lies in, with "+" if files differ from it; None without git."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True).returncode
        return commit + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
