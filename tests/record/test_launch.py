"""Launch: a program that is started recorded finds its own environment, and may have a sitecustomize of its own; one that cannot be
recorded runs all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from greentrace.events import Kind
from greentrace.record.launch import environment
from greentrace.ring import MIN_BYTES

from .conftest import Runner, traced
from .reading import rings


def start(arguments: list[str], env: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], env=env, cwd=folder, capture_output=True, text=True, timeout=60)


def test_the_environment_is_back_before_the_programs_first_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, core: str) -> None:
    program = "import os, sys; print(sorted(os.environ.items()), sys.path)"
    for before in (None, "/somewhere/else", os.pathsep.join(["/one", "/two"])):
        monkeypatch.delenv("PYTHONPATH", raising=False)
        if before is not None:
            monkeypatch.setenv("PYTHONPATH", before)
        plain = start(["-c", program], {**os.environ, "GREENTRACE_CORE": core}, tmp_path)
        ours = start(["-c", program], traced(core, tmp_path / "rings"), tmp_path)
        assert (ours.returncode, ours.stdout, ours.stderr) == (0, plain.stdout, "")


def test_the_programs_own_sitecustomize_runs_too_and_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, core: str) -> None:
    (tmp_path / "sitecustomize.py").write_text("import greentrace\ngreentrace.mark('customised')\nprint('mine')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = start(["-c", "import sitecustomize; print(sitecustomize.__file__)"], traced(core, tmp_path / "rings"), tmp_path)
    assert done.stdout == f"mine\n{tmp_path / 'sitecustomize.py'}\n"
    [ring] = rings(tmp_path / "rings")
    [mark] = ring.of(Kind.MARK)
    assert ring.strings[mark.arg] == "customised"


def test_a_shell_can_start_a_script_or_a_module_recorded(tmp_path: Path, core: str) -> None:
    (tmp_path / "app.py").write_text("import sys\nprint(__name__, sys.argv[1:])\nsys.exit(3)\n")
    directory = tmp_path / "rings"
    directory.mkdir(mode=0o700)
    env = {**os.environ, "GREENTRACE_DIRECTORY": str(directory), "GREENTRACE_RING": str(MIN_BYTES), "GREENTRACE_CORE": core}
    for arguments in (["app.py", "one"], ["-m", "app", "one"]):
        done = start(["-m", "greentrace.record.launch", *arguments], env, tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (3, "__main__ ['one']\n", "")
    assert [ring.meta["argv"][-1] for ring in rings(directory)] == ["one", "one"]


def test_the_environment_of_whoever_asks_is_not_changed(tmp_path: Path) -> None:
    before = dict(os.environ)
    environment(tmp_path, MIN_BYTES)
    assert dict(os.environ) == before


def test_a_wish_for_a_core_is_met_or_one_line_says_that_it_is_not(tmp_path: Path, core: str) -> None:
    done = start(["-c", "print('ran')"], traced(core, tmp_path / "rings"), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")
    [ring] = rings(tmp_path / "rings")
    assert ring.meta["core"] == {"native": "c", "python": "python"}[core]
    blocked = "import sys; sys.modules['greentrace.record._native'] = None\n"
    program = f"{blocked}from greentrace.record import recorder\nrecorder._loaded = None\nprint(recorder.load()[0])"
    env = {key: value for key, value in os.environ.items() if key != "GREENTRACE_CORE"}
    assert start(["-c", program], env, tmp_path).stdout == "python\n", "without a compiler the Python twin serves"
    refused = start(["-c", program], {**env, "GREENTRACE_CORE": "native"}, tmp_path)
    assert "CannotRecord: The native recorder cannot be loaded" in refused.stderr


def test_without_a_gil_nothing_is_recorded_and_the_program_runs(bare: Runner) -> None:
    program = """
import os, sys
sys._is_gil_enabled = lambda: False
from greentrace.record import launch
os.environ["GREENTRACE_DIRECTORY"] = sys.argv[1]
launch.begin("")
import greenlet
print(greenlet.gettrace(), greenlet.greenlet(len).switch("four"))
"""
    done = bare(program)
    assert (done.returncode, done.stdout) == (0, "None 4\n")
    assert done.stderr.startswith("greentrace: This Python runs without its GIL")
    assert done.stderr.count("\n") == 1
    assert not done.rings
