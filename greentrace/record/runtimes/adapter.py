"""Adapter: the form in which a runtime is described, and the only code that patches anything.

An adapter is a set of tables: which method of which class has which role for the recorder (roles are listed in
native/hooks.h), which types are which kind of resource. `Patcher` applies the rows of a module when that module is there,
remembers what was there before, and puts it back if it is still ours.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from greentrace.events import Op, ResourceKind
from greentrace.record.recorder import Recorder
from greentrace.ring import CODE_LIBRARY, CODE_RUNTIME

_INHERITED: Any = object()
"""What was in the type's dict before: nothing, the method came from a base."""


class Hook(NamedTuple):
    """One row: calling `owner.method` (a class of `module`; with no owner, a function of the module) means `role`."""

    module: str
    owner: str
    method: str
    role: str
    kind: ResourceKind = ResourceKind.UNKNOWN
    op: Op = Op.WAIT
    after: Callable[..., Any] | None = None
    """Role "python": called as after(result, *args)."""


class Kind(NamedTuple):
    """One row: instances of `owner` are this kind of resource; with `init`, their creation is seen through the slot of a static type."""

    module: str
    owner: str
    kind: ResourceKind
    init: bool = False
    next: bool = False
    """Iterating over one is getting something from it, through the slot of a static type."""


class Maker(NamedTuple):
    """One row: a resource that is made in this function (of a function, of a function ...) is of this kind, whatever its type says."""

    module: str
    function: tuple[str, ...]
    kind: ResourceKind

    def code(self, module: ModuleType) -> CodeType | None:
        """Return the code object of the function, None if this version of the runtime has not got it."""
        code: CodeType | None = getattr(getattr(module, self.function[0], None), "__code__", None)
        for name in self.function[1:]:
            inner = (const for const in code.co_consts if isinstance(const, CodeType) and const.co_name == name) if code else iter(())
            code = next(inner, None)
        return code


class Told(NamedTuple):
    """One row of the documentation alone: a primitive that parks in none of its own methods, and who can end its waits."""

    owner: str
    kind: ResourceKind
    parks: tuple[str, ...]
    enders: str
    wakes: tuple[str, ...]


@dataclass
class Adapter:
    """A runtime: its name, the package whose import brings it, and its tables."""

    name: str
    package: str
    hooks: tuple[Hook, ...] = ()
    kinds: tuple[Kind, ...] = ()
    makers: tuple[Maker, ...] = ()
    hub_types: tuple[tuple[str, str], ...] = ()
    named_types: tuple[tuple[str, str], ...] = ()
    told: tuple[Told, ...] = ()
    shared_modules: tuple[str, ...] = ()
    """Modules of the standard library with rows in `hooks`, which count only once the package is there."""
    copies: tuple[tuple[str, str], ...] = ()
    """(name in sys.modules, shared module that it is a copy of): made by the package while it was imported."""
    is_green: Callable[[ModuleType], bool] = lambda module: True
    """Whether a later copy of a shared module is one in which greenlets wait."""
    on_package: Callable[[Recorder], None] | None = None
    """Called once when the package has been imported."""

    def modules(self) -> set[str]:
        names = (
            {hook.module for hook in self.hooks}
            | {kind.module for kind in self.kinds}
            | {maker.module for maker in self.makers}
            | {module for module, _ in (*self.hub_types, *self.named_types)}
        )
        return names - set(self.shared_modules)


def _member(module: ModuleType, path: str) -> Any:
    """Return what a dotted path names in a module, None if it is not there."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


@dataclass
class Patcher:
    """Applies adapters to modules and undoes it."""

    recorder: Recorder
    undo: list[tuple[type | ModuleType, str, Any, Any]] = field(default_factory=list)
    patched: set[tuple[int, str]] = field(default_factory=set)

    def apply(self, adapter: Adapter, module: ModuleType, name: str) -> None:
        """Apply the adapter's rows for the module of that name. Rows for what this version of the runtime has not are passed over."""
        for where, owner_name in adapter.hub_types:
            if where == name and isinstance(owner := getattr(module, owner_name, None), type):
                self.recorder.set_hub_type(owner)
        for where, owner_name in adapter.named_types:
            if where == name and isinstance(owner := getattr(module, owner_name, None), type):
                self.recorder.set_named_type(owner)
        for kind in adapter.kinds:
            owner = _member(module, kind.owner)
            if kind.module == name and isinstance(owner, type):
                self.recorder.set_kind(owner, kind.kind)
                if kind.init:
                    self.recorder.patch_init(owner, kind.kind)
                if kind.next:
                    self.recorder.patch_next(owner, kind.kind)
        for maker in adapter.makers:
            code = maker.code(module) if maker.module == name else None
            if code is not None:
                self.recorder.set_maker(code, maker.kind)
        for row in adapter.hooks:
            owner = _member(module, row.owner) if row.owner else module
            if row.module == name and isinstance(owner, (type, ModuleType)):
                self.hook(owner, row)

    def hook(self, owner: type | ModuleType, row: Hook) -> None:
        before = owner.__dict__.get(row.method, _INHERITED)
        wrapped = getattr(owner, row.method, None) if before is _INHERITED else before
        if wrapped is None or isinstance(wrapped, (staticmethod, classmethod)) or (id(owner), row.method) in self.patched:
            return
        ours = self.recorder.hook(wrapped, row.role, int(row.kind), int(row.op), row.after)
        self.put(owner, row.method, ours)
        self.undo.append((owner, row.method, before, ours))
        self.patched.add((id(owner), row.method))

    def put(self, owner: type | ModuleType, name: str, value: Any) -> None:
        try:
            if value is _INHERITED:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
        except TypeError:
            if isinstance(owner, ModuleType):
                raise
            # A static type: its dict can be written all the same.
            self.recorder.patch(owner, name, None if value is _INHERITED else value)

    def restore(self) -> list[str]:
        """Put back everything that is still ours; return the names of what somebody has replaced since."""
        left = []
        for owner, name, before, ours in reversed(self.undo):
            if owner.__dict__.get(name) is ours:
                self.put(owner, name, before)
            else:
                where = owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
                left.append(f"{where}.{name}")
        self.undo.clear()
        self.patched.clear()
        self.recorder.unpatch_inits()
        return left


def package_paths(package: str) -> list[str]:
    """Return the directories of an imported package, each with a trailing separator."""
    module = sys.modules.get(package)
    return [os.path.join(path, "") for path in getattr(module, "__path__", ())] if module else []


def teach_paths(recorder: Recorder) -> list[str]:
    """Tell the recorder whose code is whose, without importing anything; return the runtimes' directories."""
    library = os.path.join(os.path.dirname(os.__file__), "")
    recorder.add_path(library, CODE_LIBRARY)
    recorder.add_path("<frozen", CODE_LIBRARY)
    for name in ("site-packages", "dist-packages"):
        recorder.add_path(os.path.join(library, name, ""), 0)
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    runtimes = [os.path.join(own, "record", ""), os.path.join(own, "hub", "")]
    for package in ("eventlet", "gevent", "greenlet"):
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):
            continue
        for path in (spec.submodule_search_locations or ()) if spec else ():
            runtimes.append(os.path.join(path, ""))
    for path in runtimes:
        recorder.add_path(path, CODE_RUNTIME)
    # Cython's functions carry the path of their source inside the package.
    for prefix in ("src/gevent/", "gevent/"):
        recorder.add_path(prefix, CODE_RUNTIME)
    return runtimes
