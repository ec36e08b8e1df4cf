"""Imports: runs an adapter's rows as soon as a module of its runtime has been executed.

A finder in front of `sys.meta_path` recognises the modules of interest, lets the usual finders find them, and calls back
after their code has run. It keeps its hands off everything else, and the module's own loader and spec are untouched
afterwards. `watch` for modules that are there already calls back at once: launch and attach are one mechanism.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class Watcher:
    """A meta path finder that finds nothing by itself."""

    def __init__(self) -> None:
        self._wanted: dict[str, list[Callable[[ModuleType], None]]] = {}

    def watch(self, name: str, then: Callable[[ModuleType], None]) -> None:
        """Call `then` for the module of that name now if it is there, and each time it is imported (again)."""
        self._wanted.setdefault(name, []).append(then)
        module = sys.modules.get(name)
        if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
            then(module)

    def install(self) -> None:
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)  # type: ignore[arg-type]

    def uninstall(self) -> None:
        while self in sys.meta_path:
            sys.meta_path.remove(self)  # type: ignore[arg-type]
        self._wanted.clear()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self._wanted:
            return None
        # Those before us were asked already, and one of them may be another of our kind that asks us.
        finders = list(sys.meta_path)
        for finder in finders[finders.index(self) + 1 :] if self in finders else finders:  # type: ignore[comparison-overlap, arg-type]
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                self._call_after(name, spec)
                return spec
        return None

    def _call_after(self, name: str, spec: ModuleSpec) -> None:
        loader = spec.loader
        execute = getattr(loader, "exec_module", None)
        if loader is None or execute is None:
            return

        def exec_module(module: ModuleType) -> None:
            # Before the code runs: a module that looks at its own loader finds it as it was.
            try:
                del loader.exec_module  # type: ignore[misc]
            except AttributeError:
                pass
            execute(module)
            for then in self._wanted.get(name, ()):
                then(module)

        # In the eyes of warnings and tracebacks, which pass over the import system's frames, it is one of them.
        exec_module.__code__ = exec_module.__code__.replace(co_filename="<frozen importlib._bootstrap_external>")
        try:
            loader.exec_module = exec_module  # type: ignore[method-assign]
        except AttributeError:
            # A loader that takes no attribute (a builtin or frozen module) is rare, and its module is there already.
            return
