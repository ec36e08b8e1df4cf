"""Backend: builds the package as setuptools does, and puts `greentrace.pth` beside it.

Python reads that line when it starts, so that GREENTRACE in the environment reaches a program that never heard of us.
In:  what pip asks of a build backend (PEP 517, PEP 660). Out: the same wheel, plain or editable, with one file more.
Never: imported by greentrace.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

PTH = Path(__file__).with_name("greentrace.pth")


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Build a wheel; return its name."""
    return _with_pth(wheel_directory, build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    """Build a wheel that refers to this folder; return its name."""
    return _with_pth(wheel_directory, build_meta.build_editable(wheel_directory, config_settings, metadata_directory))


def _with_pth(directory: str, name: str) -> str:
    path = os.path.join(directory, name)
    data = PTH.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(f"{path}.new", "w", zipfile.ZIP_DEFLATED) as after:
        for item in before.infolist():
            content = before.read(item)
            if item.filename.endswith(".dist-info/RECORD"):
                content = f"{PTH.name},sha256={digest},{len(data)}\n".encode() + content
            after.writestr(item, content)
        after.writestr(PTH.name, data)
    os.replace(f"{path}.new", path)
    return name
