"""Imports: the watcher calls back after a module's code has run, and nobody can tell afterwards that it was there."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from greentrace.record.imports import Watcher


@pytest.fixture
def watcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    (tmp_path / "watched_one.py").write_text("import sys\nloader = vars(__loader__).get('exec_module')\nvalue = 1\n")
    (tmp_path / "watched_two.py").write_text("import watched_one\nraise ValueError('on purpose')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = Watcher()
    found.install()
    yield found
    found.uninstall()
    for name in ("watched_one", "watched_two"):
        sys.modules.pop(name, None)


def test_it_calls_back_after_the_modules_code_has_run(watcher: Watcher) -> None:
    seen: list[int] = []
    watcher.watch("watched_one", lambda module: seen.append(module.value))
    assert not seen
    importlib.import_module("watched_one")
    assert seen == [1]


def test_a_module_that_is_there_is_told_at_once_and_again_when_it_is_imported_anew(watcher: Watcher) -> None:
    seen: list[ModuleType] = []
    first = importlib.import_module("watched_one")
    watcher.watch("watched_one", seen.append)
    assert seen == [first]
    del sys.modules["watched_one"]
    second = importlib.import_module("watched_one")
    assert seen == [first, second]
    importlib.reload(second)
    assert seen == [first, second, second]


def test_the_module_finds_its_loader_untouched(watcher: Watcher) -> None:
    watcher.watch("watched_one", lambda module: None)
    module = importlib.import_module("watched_one")
    assert module.loader is None
    assert "exec_module" not in vars(module.__loader__)
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__


def test_a_module_that_fails_is_not_told_and_fails_as_ever(watcher: Watcher) -> None:
    seen: list[ModuleType] = []
    watcher.watch("watched_two", seen.append)
    with pytest.raises(ValueError, match="on purpose") as caught:
        importlib.import_module("watched_two")
    assert not seen
    assert "watched_two" not in sys.modules
    files = {entry.path for entry in caught.traceback}
    assert not any(str(file).endswith("record/imports.py") for file in files), "no frame of ours shows"


def test_other_modules_and_modules_that_do_not_exist_are_none_of_its_business(watcher: Watcher) -> None:
    watcher.watch("watched_nowhere", lambda module: pytest.fail("it does not exist"))
    with pytest.raises(ModuleNotFoundError, match="watched_nowhere"):
        importlib.import_module("watched_nowhere")
    assert watcher.find_spec("watched_one") is None


def test_after_uninstall_it_is_gone(watcher: Watcher) -> None:
    seen: list[ModuleType] = []
    watcher.watch("watched_one", seen.append)
    watcher.uninstall()
    assert watcher not in sys.meta_path
    importlib.import_module("watched_one")
    assert not seen
