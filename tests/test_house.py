"""The house: DESIGN's table of rooms against the code. Arrows point down, there are no circles, and the walls stand.

An import inside a function is an arrow too. One under TYPE_CHECKING is held to the table, but makes no circle: it never runs.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"greentrace": ROOT / "greentrace", "greentrace.tui": ROOT / "tui", "greentrace.samples": ROOT / "samples"}


@dataclass(frozen=True)
class Room:
    """A row: the modules, their floor, which rooms of ours and which packages of others they may import."""

    name: str
    floor: float
    ours: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


CELLAR = ("events", "errors", "lifecycle", "ring", "trace")
EAST = (*CELLAR, "replay")

# The longest name that fits decides. Floors between two whole ones are the order inside a wing; what a wing does not name here has
# no order among its siblings, except that there is no circle.
WINGS = ("record", "replay", "export", "tui")
TABLE = (
    Room("events", 0),
    Room("errors", 0),
    Room("hub", 0, ("hub",), ("greenlet",)),
    Room("lifecycle", 1, ("events", "errors")),
    Room("ring", 1, ("events", "errors")),
    Room("trace", 1.1, ("events", "errors", "ring"), ("numpy", "backports", "compression")),
    Room("record.names", 2, CELLAR),
    Room("record.tables", 2, CELLAR),
    Room("record.imports", 2),
    Room("record.twin_world", 2.1, (*CELLAR, "record"), ("greenlet",)),
    Room("record.twin_core", 2.2, (*CELLAR, "record"), ("greenlet",)),
    Room("record.twin_hooks", 2.3, (*CELLAR, "record"), ("greenlet",)),
    Room("record.twin_eventlet", 2.32, (*CELLAR, "record"), ("greenlet",)),
    Room("record.twin_gevent", 2.34, (*CELLAR, "record"), ("greenlet",)),
    Room("record.twin_others", 2.1, CELLAR, ("greenlet",)),
    Room("record.twin_threads", 2.36, (*CELLAR, "record"), ("greenlet",)),
    Room("record.twin_watchdog", 2.38, (*CELLAR, "record"), ("greenlet",)),
    Room("record.twin", 2.4, (*CELLAR, "record"), ("greenlet",)),
    Room("record.twin_memory", 2, (), ()),
    Room("record.twin_discovery", 2.38, (*CELLAR, "record"), ("greenlet",)),
    Room("record.recorder", 2.5, (*CELLAR, "record"), ("greenlet",)),
    Room("record.runtimes.adapter", 2.6, (*CELLAR, "record"), ("greenlet",)),
    Room("record.runtimes", 2.7, (*CELLAR, "record"), ("greenlet",)),
    Room("record.runtimes.eventlet", 2.7, (*CELLAR, "record"), ("greenlet", "eventlet")),
    Room("record.runtimes.gevent", 2.7, (*CELLAR, "record"), ("greenlet", "gevent")),
    Room("record.profile_once", 2),
    Room("record.threads", 2.75, (*CELLAR, "record"), ("greenlet",)),
    Room("record.discovery", 2.72, (*CELLAR, "record"), ("greenlet",)),
    Room("record.discovery.look", 2.76, (*CELLAR, "record"), ("greenlet",)),
    Room("record.flight", 2.6, (*CELLAR, "record")),
    Room("record.session", 2.8, (*CELLAR, "record"), ("greenlet",)),
    Room("record.arrival", 2.9, (*CELLAR, "record")),
    Room("record.launch", 2.9, (*CELLAR, "record")),
    Room("record.boot", 2.95, ("record",), ("sitecustomize",)),
    Room("record", 2, (*CELLAR, "record"), ("greenlet",)),
    Room("replay.model", 2, EAST),
    Room("replay.source", 2, EAST, ("numpy",)),
    Room("replay.index", 2, EAST, ("numpy",)),
    Room("replay.process", 2.2, EAST, ("numpy",)),
    Room("replay.state", 2.3, EAST, ("numpy",)),
    Room("replay.history", 2.4, EAST, ("numpy",)),
    Room("replay.waits", 2.5, EAST, ("numpy",)),
    Room("replay.spans", 2.5, EAST, ("numpy",)),
    Room("replay.stats", 2.6, EAST, ("numpy",)),
    Room("replay.moment", 2.6, EAST, ("numpy",)),
    Room("replay.describe", 2.6, EAST, ("numpy",)),
    Room("replay.lints_runs", 2.6, EAST, ("numpy",)),
    Room("replay.lints", 2.7, EAST, ("numpy",)),
    Room("replay.reader", 2.8, EAST, ("numpy",)),
    Room("replay", 2, EAST, ("numpy",)),
    Room("follow", 2.9, EAST),
    Room("flight.watch", 3, (*EAST, "follow"), ("numpy",)),
    Room("flight.snapshots", 3, CELLAR),
    Room("flight", 3.1, (*EAST, "flight", "follow", "record.flight"), ("numpy",)),
    Room("recording", 3, (*CELLAR, "record")),
    Room("export", 3, (*EAST, "export"), ("numpy", "graphviz")),
    Room("tui.web", 4, ("errors",), ("aiohttp", "textual_serve")),
    Room("tui", 4, (*EAST, "export", "tui"), ("textual", "rich", "numpy")),
    Room("attach.area", 4.1, ("errors",)),
    Room("attach.mappings", 4.1, ("errors",)),
    Room("attach.elf", 4.1, ("errors",)),
    Room("attach.ptrace", 4.1, ("errors",)),
    Room("attach.processor_x86_64", 4.12, ("errors", "attach")),
    Room("attach.processor", 4.14, ("errors", "attach")),
    Room("attach.symbols", 4.2, ("errors", "attach")),
    Room("attach.target", 4.3, ("errors", "attach")),
    Room("attach.outside", 4.4, ("errors", "attach")),
    Room("attach.answers", 4.4, ("errors", "attach")),
    Room("attach.injector", 4.4, ("errors", "attach")),
    Room("attach.remote_exec", 4.4, ("errors", "attach")),
    Room("attach.capabilities", 4.6, ("errors", "attach")),
    Room("attach.entry", 4.5, ("errors", "attach")),
    Room("attach.foothold", 4.1),
    Room("attach.visit", 4.7, ("", *CELLAR, "attach", "follow", "processes")),
    Room("attach.guest", 4.8, (*CELLAR, "attach", "follow", "processes")),
    Room("attach", 4),
    Room("pytest_plugin", 4, (*EAST, "record", "export", "recording"), ("pytest", "greenlet")),
    Room("run", 4, (*CELLAR, "flight", "follow", "record.launch", "record.flight", "recording")),
    Room("environment", 4, ("recording", "record.imports", "record.session")),
    Room("packaging", 4, (), ("setuptools",)),
    Room("processes", 4, (*CELLAR, "record.session", "follow")),
    Room("diagnosis", 4.9, (*CELLAR, "attach")),
    Room("samples", 4, ("hub", "samples"), ("eventlet", "gevent")),
    Room("", 4, ("recording", "replay.reader")),
    Room("progress", 4, (), ("click",)),
    Room("demonstration", 4.5, (*EAST, "export", "run", "samples"), ("click",)),
    Room("cli", 5, ("",), ("click",)),
    Room("__main__", 6, ("cli",)),
)


def room_of(module: str) -> Room:
    """Return the row of a module, which is named without `greentrace.`"""
    fitting = [room for room in TABLE if module == room.name or (room.name and module.startswith(room.name + "."))]
    assert fitting, f"greentrace.{module} stands in no room of the table in {Path(__file__).name}"
    return max(fitting, key=lambda room: len(room.name))


def modules() -> dict[str, Path]:
    """Return every module of ours, by its name without `greentrace.`; the package itself is ""."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name.partition(".")[2]] = path
    return found


MODULES = modules()


@dataclass(frozen=True)
class Arrow:
    """One import: of a module of ours (named like the keys of MODULES) or of a package of somebody else's."""

    target: str
    ours: bool
    line: int
    top: bool
    types_only: bool


def arrows(name: str) -> Iterator[Arrow]:
    """Yield every import of a module, wherever in it."""
    path = MODULES[name]
    full = ".".join(part for part in ("greentrace", name) if part)
    package = full if path.name == "__init__.py" else full.rpartition(".")[0]
    for node, top, types_only in _imports(ast.parse(path.read_text(encoding="utf-8")), True, False):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            targets = [f"{base}.{alias.name}" if f"{base}.{alias.name}".partition(".")[2] in MODULES else base for alias in node.names]
        for target in dict.fromkeys(targets):
            first, _, rest = target.partition(".")
            ours = first == "greentrace"
            if ours and rest not in MODULES:
                # The native core, and names that a package passes on.
                rest = rest.rpartition(".")[0] if rest.rpartition(".")[0] in MODULES else rest
            if ours or first not in sys.stdlib_module_names:
                yield Arrow(rest if ours else first, ours, node.lineno, top, types_only)


def _imports(node: ast.AST, top: bool, types_only: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, top, types_only
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _imports(child, top, True)
        else:
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, top and not inner, types_only)


def is_above(room: Room, target: Room) -> bool:
    """Whether an arrow from `room` to `target` points up."""
    unordered = room.name in WINGS or target.name in WINGS
    return int(target.floor) > int(room.floor) if unordered else target.floor > room.floor


def may(room: Room, target: str) -> bool:
    return any(target == name or (name and target.startswith(name + ".")) for name in room.ours)


def test_every_arrow_points_down_and_only_where_the_table_lets_it() -> None:
    wrong = []
    for name in MODULES:
        room = room_of(name)
        for arrow in arrows(name):
            where = f"{MODULES[name].relative_to(ROOT)}:{arrow.line} imports {arrow.target or 'greentrace'}"
            if not arrow.ours:
                # The samples run as plain scripts too, and then their sibling is a module of its own.
                if arrow.target not in room.others and not (room.name == "samples" and arrow.target == "runtime"):
                    wrong.append(f"{where}: a package that this room does without")
            elif is_above(room, room_of(arrow.target)):
                wrong.append(f"{where}: an arrow up")
            elif room.name != "cli" and not may(room, arrow.target):
                wrong.append(f"{where}: a wall")
    assert wrong == []


def test_there_is_no_circle() -> None:
    graph = {name: {a.target for a in arrows(name) if a.ours and not a.types_only and a.target != name} for name in MODULES}
    done: set[str] = set()
    path: list[str] = []

    def walk(name: str) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for target in sorted(graph.get(name, ())):
            walk(target)
        path.pop()
        done.add(name)

    for name in MODULES:
        walk(name)


def test_the_two_wings_meet_in_the_cellar_and_nowhere_else() -> None:
    reached = {wing: _reach({name for name in MODULES if name.startswith(f"{wing}.")}) for wing in ("record", "replay")}
    for wing, other in (("record", "replay"), ("replay", "record")):
        assert not {name for name in reached[wing] if name.startswith(f"{other}.")}, wing
    assert not {"trace", "follow"} & reached["record"], "they need numpy"


def _reach(names: set[str]) -> set[str]:
    reached: set[str] = set()
    while names:
        name = names.pop()
        reached.add(name)
        names |= {arrow.target for arrow in arrows(name) if arrow.ours and arrow.target in MODULES} - reached
    return reached


def test_eventlet_and_gevent_are_named_by_their_own_adapters_only() -> None:
    for name in MODULES:
        used = {arrow.target for arrow in arrows(name)} & {"eventlet", "gevent"}
        assert not used or name == "samples.runtime" or used == {name.rpartition(".")[2]}, name


def test_the_command_line_imports_what_a_command_needs_inside_its_function() -> None:
    at_the_top = {arrow.target for arrow in arrows("cli") if arrow.ours and arrow.top and not arrow.types_only}
    assert at_the_top == {"", "errors"}


def loaded_after(code: str) -> set[str]:
    """Return the modules that a new interpreter has loaded after `code`."""
    program = f"import sys\n{code}\nsys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def below(loaded: set[str], *packages: str) -> set[str]:
    return {name for name in loaded if name.startswith(tuple(f"{package}." for package in packages)) or name in packages}


def test_the_recording_half_loads_neither_the_reading_half_nor_what_it_needs() -> None:
    heavy = ("numpy", "textual", "rich", "click", "graphviz", "backports.zstd", "compression")
    east = ("greentrace.replay", "greentrace.export", "greentrace.tui", "greentrace.cli", "greentrace.trace", "greentrace.follow")
    loaded = loaded_after("import greentrace.record.session")
    assert below(loaded, *heavy, *east) == set()
    assert below(loaded, "greentrace.record.session", "greenlet") >= {"greentrace.record.session", "greenlet"}


def test_recording_loads_no_runtime_that_the_program_did_not() -> None:
    loaded = loaded_after("import greentrace\ngreentrace.start()\ngreentrace.mark('x')\ngreentrace.stop()")
    assert below(loaded, "eventlet", "gevent", "greentrace.hub", "numpy", "greentrace.replay") == set()


def test_importing_greentrace_loads_nothing_heavy() -> None:
    loaded = loaded_after("import greentrace\ngreentrace.__version__\ndir(greentrace)")
    assert below(loaded, "greentrace") == {"greentrace"}
    assert below(loaded, "numpy", "greenlet", "click", "textual", "asyncio") == set()


def test_every_name_that_greentrace_offers_is_there_and_no_other() -> None:
    import greentrace

    for name in greentrace.__all__:
        assert getattr(greentrace, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        greentrace.nonsense  # noqa: B018


def sources() -> list[Path]:
    """Return all files of code, tests and samples too."""
    found = [path for folder in ("greentrace", "tui", "samples", "tests") for path in (ROOT / folder).rglob("*.py")]
    return sorted([*found, *(ROOT / "greentrace").rglob("*.[ch]")])


def opening(path: Path) -> str:
    """Return what a file says of itself at its top."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return ast.get_docstring(ast.parse(text)) or ""
    match = re.match(r"/\*(.*?)\*/", text, re.S)
    return match[1].strip() if match else ""


def test_every_file_opens_by_saying_which_room_it_is() -> None:
    silent = []
    for path in sources():
        text = opening(path)
        empty = path.name == "__init__.py" and not path.read_text(encoding="utf-8").strip()
        if not empty and not re.match(r".{15,}", text):
            silent.append(str(path.relative_to(ROOT)))
    assert silent == []


def test_every_module_that_is_installed_says_what_for_in_more_than_a_line() -> None:
    brief = [str(path.relative_to(ROOT)) for name, path in MODULES.items() if len(opening(path).splitlines()) < 3 and name != "__main__"]
    assert brief == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert not [path for path in sources() if path.stem.lstrip("_") in {"utils", "util", "helpers", "helper", "common", "misc", "types"}]


def test_no_file_is_longer_than_400_lines_unless_its_opening_says_why() -> None:
    long = []
    for path in sources():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > 400 and "One room" not in opening(path):
            long.append(f"{path.relative_to(ROOT)}: {lines} lines, and its opening does not say `One room, because ...`")
    assert long == []


def test_the_reading_half_walks_the_grammar_and_the_traced_program_does_not_carry_it() -> None:
    users = {name for name in MODULES for arrow in arrows(name) if arrow.ours and arrow.target == "lifecycle"}
    assert "replay.index" in users
    assert not [name for name in users if name.startswith("record.")]


def test_the_top_level_holds_what_the_design_names_and_nothing_more() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if listed.returncode:
        pytest.skip("not a git work tree")
    top = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    named = {"pyproject.toml", "greentrace", "tui", "tests", "samples", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", ".ci"}
    assert top - {".gitignore"} == named
