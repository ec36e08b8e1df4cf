"""Foothold: the lines that are put into a process. This file's text is what runs there; `visit` adds the call of a function.

    load    imports the recording wing and prepares it, in an OS thread of its own, so that the loop goes on meanwhile
    call    calls a function of greentrace.record.arrival, here and now

Nothing but the standard library, on any Python from 3.11 on; nothing that a runtime may have replaced.
"""

from __future__ import annotations

STASH = "_greentrace_left"
"""Under this name `sys.modules` keeps what was imported for us alone, once we have left: for the next time."""
TURNS = "_greentrace_turns"
"""Under this name `sys` keeps how long a turn of a thread lasts for the program, and for each of us who are at work, in seconds."""
SHORT, LONG = 0.00005, 10.0
"""In a busy program each of an import's hundred small files and calls would wait a whole turn. While something is begun or ended,
no other thread runs between the first and the last thing that is done, unless a call waits."""


def load(path: str, package: str, version: str, *arguments: object) -> None:
    """Begin to import the wing that stands in the directory `package`, and to prepare it; `path` is written when that is over."""

    def work() -> None:
        change_turns(SHORT)
        try:
            problem = bring(package, version, arguments)
        except BaseException as error:
            problem = type(error).__name__ + ": " + str(error)
        finally:
            change_turns_back(SHORT)
        leave_word(path, problem)

    start = thread_starter()
    if start is None:
        work()
    else:
        start(work, ())  # type: ignore[operator]


def change_turns(seconds: float) -> None:
    """Let a turn of a thread last so long. Several of us may be at work: whoever ends first must not restore what another has set."""
    import sys

    turns = sys.__dict__.setdefault(TURNS, [0.0])
    if len(turns) == 1:
        turns[0] = sys.getswitchinterval()
    turns.append(seconds)
    sys.setswitchinterval(seconds)


def change_turns_back(seconds: float) -> None:
    """Let it last as long as whoever is still at work wants, or else the program."""
    import sys

    turns = sys.__dict__[TURNS]
    others = turns[:]
    others.remove(seconds)
    # In this order: who comes in between finds us still here.
    sys.setswitchinterval(others[-1])
    turns.remove(seconds)


def leave_word(path: str, text: str) -> None:
    """Write a small file, under a temporary name first."""
    import posix

    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
    file = posix.open(path + ".new", flags, 0o600)
    try:
        posix.write(file, text.encode(errors="replace")[:4000])
    finally:
        posix.close(file)
    posix.rename(path + ".new", path)


def thread_starter() -> object:
    """Return the function that starts an OS thread, and no greenlet; None when it is not to be found."""
    import _thread
    import sys
    from types import BuiltinFunctionType

    candidates = [_thread.start_new_thread, getattr(sys.modules.get("__original_module__thread"), "start_new_thread", None)]
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        candidates.append(monkey.get_original("_thread", "start_new_thread"))
    for candidate in candidates:
        if isinstance(candidate, BuiltinFunctionType):
            return candidate
    return None


def bring(package: str, version: str, arguments: tuple[object, ...]) -> str:
    """Have greentrace.record.arrival imported. Return what is in the way, "" when it is there."""
    import importlib
    import importlib.machinery
    import importlib.util
    import sys

    if "greenlet" not in sys.modules:
        return "no greenlet"
    stash = sys.modules.get(STASH)
    if "greentrace" not in sys.modules and stash is not None and stash.version == version:
        sys.modules.update(stash.modules)
        del sys.modules[STASH]
    if "greentrace" not in sys.modules:
        own = importlib.machinery.PathFinder.find_spec("greentrace")
        file = package + "/__init__.py"
        spec = importlib.util.spec_from_file_location("greentrace", file, submodule_search_locations=[package])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # What the program would not find by itself is taken away again.
        module.__dict__["_brought"] = own is None or own.origin != file
        sys.modules["greentrace"] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules["greentrace"]
            raise
    found = getattr(sys.modules["greentrace"], "__version__", "of no version")
    if found != version:
        return "greentrace " + found
    importlib.import_module("greentrace.record.arrival").prepare(*arguments)
    return ""


def call(name: str, *arguments: object) -> object:
    """Call a function of greentrace.record.arrival; after the last of them our modules are put away."""
    import importlib
    import sys

    # It is there unless the program began to record of its own accord.
    function = getattr(importlib.import_module("greentrace.record.arrival"), name)
    change_turns(LONG)
    try:
        answer = function(*arguments)
    finally:
        change_turns_back(LONG)
    if name == "end" and sys.modules["greentrace"].__dict__.get("_brought"):
        stow()
    return answer


def stow() -> None:
    """Take our modules out of `sys.modules`, as if nobody had imported them."""
    import sys

    stash = type(sys)(STASH, "What greentrace had imported here while it recorded; of no effect.")
    modules = {name: module for name, module in sys.modules.items() if name == "greentrace" or name.startswith("greentrace.")}
    stash.__dict__.update(version=modules["greentrace"].__version__, modules=modules)
    for name in modules:
        del sys.modules[name]
    sys.modules[STASH] = stash
