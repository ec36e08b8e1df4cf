"""Target: each reason why a process cannot be entered is told as it is, with what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from greentrace.attach.symbols import Python
from greentrace.attach.target import Standing, examine, refusal_for, refuse_version, refuse_without_greenlet
from greentrace.errors import CannotAttach
from tests.attach.programs import Program, await_

ROOT = Path(__file__).resolve().parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def refusal(pid: int) -> CannotAttach:
    with pytest.raises(CannotAttach) as refused:
        examine(pid)
    assert refused.value.kept.endswith("touched.")
    assert refused.value.advice
    return refused.value


@contextmanager
def helper(text: str, *before: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that may import greentrace, and says something when it is ready."""
    command = [*before, sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{textwrap.dedent(text)}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(text: str, *before: str) -> str:
    with helper(text, *before) as process:
        out, _ = process.communicate(timeout=60)
        return out


def test_a_program_is_known_by_its_python_user_and_threads(start: Callable[..., Program]) -> None:
    program = start(
        "import greenlet, threading; threading.Thread(target=os.read, args=(0, 1), daemon=True).start(); ready(); os.read(0, 1)"
    )
    target = examine(program.pid)
    assert target.python.version >= (3, 11)
    assert not target.python.is_free_threaded
    assert (target.user, target.group) == (os.geteuid(), os.getegid())
    assert target.threads[0] == program.pid
    assert len(target.threads) == 2
    assert target.has_greenlet
    assert target.is_namespace_ours
    refuse_without_greenlet(target)


def test_a_program_without_greenlet_is_told_so(start: Callable[..., Program]) -> None:
    target = examine(start("ready(); os.read(0, 1)").pid)
    with pytest.raises(CannotAttach, match="no green threads in it"):
        refuse_without_greenlet(target)


def test_there_is_no_such_process() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert "There is no process" in refusal(process.pid).happened


def test_a_zombie() -> None:
    process = subprocess.Popen(["true"])
    await_(lambda: " Z " in Path(f"/proc/{process.pid}/stat").read_text())
    assert "zombie" in refusal(process.pid).happened
    process.wait()


def test_ourselves_and_a_thread() -> None:
    assert "itself" in refusal(os.getpid()).happened
    with helper("import threading, os\nthreading.Thread(target=os.read, args=(0, 1)).start()\nprint('ready', flush=True)") as process:
        assert process.stdout is not None
        process.stdout.readline()
        thread = max(int(name) for name in os.listdir(f"/proc/{process.pid}/task"))
        assert f"Attach to {process.pid}" in refusal(thread).advice


def test_a_thread_of_the_kernel() -> None:
    if not Path("/proc/2/stat").exists() or "kthreadd" not in Path("/proc/2/stat").read_text():
        pytest.skip("no thread of the kernel is to be seen here")
    assert "thread of the kernel" in refusal(2).happened


def test_what_is_no_python() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        await_(lambda: b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes())
        assert "is not a CPython program" in refusal(process.pid).happened
    finally:
        process.kill()
        process.wait()


def test_a_stopped_process_is_to_be_continued(start: Callable[..., Program]) -> None:
    program = start("ready(); os.read(0, 1)")
    os.kill(program.pid, signal.SIGSTOP)
    await_(lambda: " T " in Path(f"/proc/{program.pid}/stat").read_text())
    assert f"kill -CONT {program.pid}" in refusal(program.pid).advice
    os.kill(program.pid, signal.SIGCONT)


def test_a_traced_process_tells_by_whom(start: Callable[..., Program]) -> None:
    program = start("ready(); os.read(0, 1)")
    with helper(f"""
        from greentrace.attach import ptrace
        ptrace._request(ptrace._SEIZE, {program.pid})
        print("seized", flush=True)
        input()
    """) as tracer:
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == "seized\n"
        refused = refusal(program.pid)
    assert f"already traced by process {tracer.pid} (" in refused.happened
    assert str(tracer.pid) in refused.advice
    tracer.wait()
    examine(program.pid)


@as_root
def test_another_user(start: Callable[..., Program]) -> None:
    program = start("ready(); os.read(0, 1)")
    text = said(f"""
        import os
        from greentrace.attach.target import examine
        from greentrace.errors import CannotAttach
        os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
        try: examine({program.pid})
        except CannotAttach as error: print(error)
    """)
    assert "belongs to another user (root)" in text
    assert "sudo -u root" in text


@as_root
def test_a_process_that_does_not_let_itself_be_looked_into(start: Callable[..., Program]) -> None:
    program = start("os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534); ready(); os.read(0, 1)")
    text = said(f"""
        import os
        from greentrace.attach.target import examine
        from greentrace.errors import CannotAttach
        os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
        try: examine({program.pid})
        except CannotAttach as error: print(error)
    """)
    assert "not dumpable" in text


@as_root
def test_root_without_the_capability(start: Callable[..., Program]) -> None:
    program = start("ready(); os.read(0, 1)")
    text = said(
        f"""
        from greentrace.attach.target import examine
        from greentrace.errors import CannotAttach
        try: examine({program.pid})
        except CannotAttach as error: print(error)
        """,
        "setpriv",
        "--bounding-set",
        "-sys_ptrace",
    )
    assert "--cap-add=SYS_PTRACE" in text


def test_what_yama_forbids_has_the_advice_that_helps() -> None:
    ours = Standing(user=1000, us=1000, has_capability=False, scope=0, is_dumpable=True)
    assert "security module" in refusal_for(7, ours).happened
    assert "ptrace_scope=0" in refusal_for(7, replace(ours, scope=1)).advice
    assert "no child of ours" in refusal_for(7, replace(ours, scope=1)).happened
    assert "sudo" in refusal_for(7, replace(ours, scope=2)).advice
    for standing in (replace(ours, scope=3), replace(ours, scope=3, has_capability=True, us=0)):
        assert "started anew" in refusal_for(7, standing).happened
    assert "ptrace_scope" not in str(refusal_for(7, replace(ours, user=1001, scope=1)))


def test_pythons_into_which_there_is_no_way() -> None:
    known = Python((3, 12, 1), False, "/lib/libpython3.12.so", 62, {}, (), (0, 0))
    with pytest.raises(CannotAttach, match="runs Python 3.15.0, which is newer"):
        refuse_version(7, replace(known, version=(3, 15, 0)))
    with pytest.raises(CannotAttach, match=r"runs Python 3.10.13\. .* 3.11 and newer"):
        refuse_version(7, replace(known, version=(3, 10, 13)))
    with pytest.raises(CannotAttach, match="older than 3.11"):
        refuse_version(7, replace(known, version=(0, 0, 0)))
    with pytest.raises(CannotAttach, match="free-threaded"):
        refuse_version(7, replace(known, version=(3, 13, 0), is_free_threaded=True))


def test_a_real_python_that_is_too_old() -> None:
    old = next((path for path in sorted(Path.home().glob(".pyenv/versions/3.[6-9]*/bin/python")) if path.exists()), None)
    if old is None:
        pytest.skip("no Python older than 3.11 here")
    process = subprocess.Popen([old, "-c", "import os; os.write(1, b'.'); os.read(0, 1)"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.read(1)
        assert "older than 3.11" in refusal(process.pid).happened
    finally:
        process.kill()
        process.communicate()
