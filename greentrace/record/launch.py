"""Launch: runs a program as Python would have run it, recorded from its first line.

    python -m greentrace.record.launch [-m MODULE | SCRIPT] ARGS...

In:  the rings' directory and the ring's size in the environment (GREENTRACE_DIRECTORY, GREENTRACE_RING), put there by
     `greentrace record`. Out: the program's own output, exceptions, signals and exit code.
Never: a trace of ours in `sys.argv`, `sys.path`, `__main__` or a traceback.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import io
import os
import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

DIRECTORY = "GREENTRACE_DIRECTORY"
RING = "GREENTRACE_RING"
DEPTH = "GREENTRACE_DEPTH"


def main() -> None:
    """Start the session, become the program."""
    directory = os.environ.pop(DIRECTORY, "")
    ring_bytes = int(os.environ.pop(RING, "0"))
    depth = int(os.environ.pop(DEPTH, "32"))
    arguments = sys.argv[1:]
    code, module = _program(arguments)
    from greentrace.errors import CannotRecord
    from greentrace.record.session import Session

    try:
        Session(Path(directory), ring_bytes, depth).start()
    except CannotRecord as error:
        sys.stderr.write(f"greentrace: {error}\n")
        sys.exit(2)
    sys.modules["__main__"] = module
    _run(code, module.__dict__)


def _run(code: CodeType, namespace: dict[str, Any]) -> None:
    """Execute the program; our own frame is cut off a traceback that escapes from it."""
    try:
        exec(code, namespace)
    except SystemExit:
        raise
    except BaseException as error:
        traceback = error.__traceback__
        raise error.with_traceback(traceback.tb_next if traceback is not None else None) from error.__cause__


def _program(arguments: list[str]) -> tuple[CodeType, ModuleType]:
    """Return the program's code and its `__main__`, and set argv and path as Python would."""
    module = ModuleType("__main__")
    module.__dict__["__builtins__"] = __builtins__
    if arguments[0] == "-m":
        name, sys.argv = arguments[1], arguments[1:]
        sys.path[0] = os.getcwd()
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
        code = spec.loader.get_code(spec.name) if spec is not None and hasattr(spec.loader, "get_code") else None  # type: ignore[union-attr]
        if spec is None or code is None:
            sys.stderr.write(f"{sys.executable}: No module named {name}\n")
            sys.exit(1)
        sys.argv[0] = spec.origin or name
        module.__file__, module.__spec__, module.__package__ = spec.origin, spec, spec.parent
        module.__loader__ = spec.loader
        return code, module
    path, sys.argv = arguments[0], arguments
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    with io.open_code(os.path.abspath(path)) as file:
        source = file.read()
    module.__file__ = path
    module.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    return compile(source, path, "exec", dont_inherit=True), module


if __name__ == "__main__":
    main()
