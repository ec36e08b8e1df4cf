"""Recording from inside the program: with a block, with start and stop, and a note; and nothing of it disturbs the program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import greentrace
from greentrace.events import How, Kind
from greentrace.replay.reader import Trace


def run(code: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, for recording is something that a process does."""
    command = [sys.executable, "-c", f"import greentrace, os, sys\n{code}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, stdin=subprocess.DEVNULL)


def recorded(code: str, folder: Path) -> Trace:
    """Run code that records into `out`; returns the trace, for the program has ended well and in silence."""
    out = folder / "out.gtrace"
    done = run(f"out = {str(out)!r}\n{code}")
    assert (done.returncode, done.stderr) == (0, "")
    return greentrace.open(out)


def told(trace: Trace, kind: Kind) -> list[str]:
    records = [h.record(at) for h in trace.histories for at in range(h.count)]
    return [trace.string(0, record.arg) for record in records if record.kind == kind]


def test_a_with_block_records_what_happens_inside_and_nothing_else(tmp_path: Path) -> None:
    code = """
import gevent
def before(): gevent.sleep(0)
def inside(): gevent.sleep(0)
def after(): gevent.sleep(0)
gevent.spawn(before).join()
with greentrace.record(out) as recording:
    assert recording is not None
    gevent.spawn(inside).join()
gevent.spawn(after).join()
"""
    trace = recorded(code, tmp_path)
    functions = {greenlet.function for greenlet in trace.greenlets}
    assert "inside" in functions
    assert not functions & {"before", "after"}
    assert [greenlet.how for greenlet in trace.greenlets if greenlet.function == "inside"] == [How.RETURNED]


def test_the_trace_is_whole_when_the_block_ends_even_by_an_exception(tmp_path: Path) -> None:
    out = tmp_path / "out.gtrace"
    code = f"""
try:
    with greentrace.record({str(out)!r}):
        greentrace.mark("on the way out")
        raise KeyError("mine")
except KeyError as error:
    print(error, len(greentrace.open({str(out)!r}).greenlets), "ended" if b"GTBK" in open({str(out)!r}, "rb").read() else "")
"""
    done = run(code)
    assert (done.stdout, done.stderr) == ("'mine' 1 ended\n", "")
    assert told(greentrace.open(out), Kind.MARK) == ["on the way out"]


def test_marks_come_in_order_at_the_place_where_they_were_made(tmp_path: Path) -> None:
    trace = recorded("greentrace.start(out)\nfor i in range(3):\n    greentrace.mark(f'note {i} ✓')\ngreentrace.stop()", tmp_path)
    assert told(trace, Kind.MARK) == ["note 0 ✓", "note 1 ✓", "note 2 ✓"]


def test_without_a_recording_mark_and_stop_do_nothing() -> None:
    done = run("greentrace.mark('x')\ngreentrace.stop()\ngreentrace.stop()\nprint('fine')")
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_one_program_can_record_one_stretch_after_another(tmp_path: Path) -> None:
    code = """
import gevent
for name in ("one", "two"):
    with greentrace.record(f"{name}.gtrace"):
        greentrace.mark(name)
        gevent.sleep(0)
"""
    assert run(code, folder=tmp_path).stderr == ""
    assert [told(greentrace.open(tmp_path / f"{name}.gtrace"), Kind.MARK) for name in ("one", "two")] == [["one"], ["two"]]


@pytest.mark.parametrize(
    "first", ["greentrace.start(out); greentrace.stop()", "import greentrace.record.session", "from greentrace.record import launch", ""]
)
def test_record_is_a_function_whatever_was_imported_from_the_room_of_that_name(tmp_path: Path, first: str) -> None:
    code = f"{first}\nwith greentrace.record(out):\n    greentrace.mark('x')\nimport greentrace.record.session as session\nsession.Session"
    assert told(recorded(code, tmp_path), Kind.MARK) == ["x"]


def test_record_works_inside_a_program_that_greentrace_has_started(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import greentrace\ntry:\n    greentrace.record('x.gtrace').__enter__()\nexcept Exception as error:\n    print(error)\n"
    )
    command = [sys.executable, "-m", "greentrace", "record", "-q", "-o", str(tmp_path / "out.gtrace"), str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert done.stdout.startswith("This process is being recorded already."), done


def test_a_second_start_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    code = """
from greentrace.errors import CannotRecord
greentrace.start(out)
try:
    greentrace.start(out)
except CannotRecord as error:
    assert "already" in error.happened, error
else:
    raise AssertionError
greentrace.mark("still here")
greentrace.stop()
"""
    assert told(recorded(code, tmp_path), Kind.MARK) == ["still here"]


def test_the_program_never_meets_a_child_of_ours(tmp_path: Path) -> None:
    code = """
greentrace.start(out)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    greentrace.mark("no child")
greentrace.stop()
"""
    assert told(recorded(code, tmp_path), Kind.MARK) == ["no child"]


def test_stop_gives_everything_back(tmp_path: Path) -> None:
    code = """
import greenlet, gevent, gevent.lock
def look():
    return [greenlet.gettrace(), dict(vars(gevent.Greenlet)), dict(vars(gevent.lock.Semaphore)), list(sys.meta_path)]
mine = lambda event, arguments: None
greenlet.settrace(mine)
before = look()
greentrace.start(out)
gevent.spawn(gevent.sleep, 0).join()
assert greenlet.gettrace() is not mine
greentrace.stop()
for was, now in zip(before, look()):
    assert was == now, (was, now)
"""
    recorded(code, tmp_path)


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)", "sys.exit()"])
def test_a_program_that_ends_without_stop_leaves_a_whole_trace_soon_after(tmp_path: Path, end: str) -> None:
    import time

    out = tmp_path / "out.gtrace"
    run(f"greentrace.start({str(out)!r})\ngreentrace.mark('last words')\n{end}")
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        if out.stat().st_size and told(greentrace.open(out), Kind.MARK):
            break
        time.sleep(0.02)
    assert told(greentrace.open(out), Kind.MARK) == ["last words"]


def test_a_place_that_cannot_be_written_is_said_before_anything_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    code = """
from greentrace.errors import CannotRecord
import greenlet
for out in ("folder", "no/such/out.gtrace", "/proc/out.gtrace"):
    try:
        greentrace.start(out)
    except CannotRecord as error:
        print(error.happened, error.advice)
    assert greenlet.gettrace() is None
"""
    done = run(code, folder=tmp_path)
    assert done.stdout.count("cannot be written") == 3, done
    assert done.stdout.count("Choose another place") == 3


def test_a_full_disk_is_said_once_and_the_program_and_its_ring_live(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    code = """
import gevent
greentrace.start("/dev/full")
gevent.spawn(gevent.sleep, 0).join()
greentrace.mark("kept")
from greentrace.processes import find_ring
ring = find_ring(os.getpid()).path
greentrace.stop()
print(ring)
"""
    done = run(code)
    assert done.returncode == 0
    assert done.stderr.startswith("greentrace: The trace /dev/full "), done.stderr
    assert done.stderr.count("\n") == 1
    assert told(greentrace.open(done.stdout.strip()), Kind.MARK) == ["kept"]
