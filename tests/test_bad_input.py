"""Bad input and bad luck: each mistake gives one message of three parts, and whatever a program does, nothing recorded is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import greentrace
from greentrace import ring
from greentrace.events import RECORD, How, Kind
from greentrace.follow import start_ticks
from tests.conftest import GREENTRACE
from tests.test_cli import assert_three_parts, run, write

BUSY = """
import gevent
def work():
    for _ in range(200):
        gevent.sleep(0)
gevent.joinall([gevent.spawn(work) for _ in range(5)])
"""


def returned(path: Path) -> int:
    """Return how many greenlets a trace saw return; it opens, and is whole."""
    trace = greentrace.open(path)
    assert trace.damage == []
    return sum(greenlet.how == How.RETURNED for greenlet in trace.greenlets)


# ---- mistakes

MISTAKES = {
    "no such command": ["nonsense"],
    "no file": ["check"],
    "one file too many": ["check", "a.gtrace", "b.gtrace"],
    "a file that does not exist": ["dump", "a.gtrace"],
    "an option that does not exist": ["info", "--nonsense", "a.gtrace"],
    "a format that does not exist": ["export", "a.gtrace", "--as", "gif"],
    "no format": ["export", "a.gtrace"],
    "no script": ["record"],
    "no module": ["record", "-m"],
    "a script that does not exist": ["record", "no_such_script.py"],
    "a directory as script": ["record", "."],
    "a directory as output": ["record", "-o", ".", "program.py"],
    "a size that is none": ["record", "--ring", "many", "program.py"],
    "a size that is too small": ["record", "--ring", "1K", "program.py"],
    "a depth that is none": ["record", "--depth", "0", "program.py"],
    "a PID that is none": ["attach", "alice"],
    "a PID that is dead": ["attach", "999999999"],
    "a PID that is dead, to be saved": ["record", "--pid", "999999999"],
    "a sample that does not exist": ["demo", "nonsense"],
    "a file where the demo shall put its own": ["demo", "-o", "program.py"],
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_gives_one_message_of_three_parts_and_leaves_nothing(tmp_path: Path, mistake: str) -> None:
    write(tmp_path, "print('ran')")
    assert_three_parts(run(*MISTAKES[mistake], cwd=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]


def test_no_command_at_all_shows_the_help() -> None:
    done = run()
    assert done.returncode == 0
    assert done.stdout == run("--help").stdout


def newer_ring(folder: Path) -> Path:
    path = folder / "x.ring"
    ring.create(path, ring.MIN_BYTES, 1, {"pid": 1})
    with open(path, "r+b") as file:
        file.seek(8)
        file.write((ring.VERSION + 1).to_bytes(4, "little"))
    return path


def cut_ring(folder: Path) -> Path:
    path = folder / "x.ring"
    ring.create(path, ring.MIN_BYTES, 1, {"pid": 1})
    os.truncate(path, 100_000)
    return path


def file(name: str, data: bytes = b"") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def folder_without_rings(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


NO_TRACES = {
    "a ring of a newer version": (newer_ring, "newer greentrace"),
    "a ring that was cut off": (cut_ring, "damaged"),
    "an empty trace": (file("x.gtrace"), "is not a trace"),
    "an empty ring": (file("x.ring"), "is not a ring"),
    "a text": (file("x.gtrace", b"hello, this is a text that is long enough to be mistaken for a header of a trace"), "is not a trace"),
    "a Python script": (file("x.py", b"print('hello')\n"), "is not a trace"),
    "a directory": (folder_without_rings, "There is no ring in"),
}


@pytest.mark.parametrize("command", ["check", "dump", "info", "export", "replay"])
@pytest.mark.parametrize("what", NO_TRACES)
def test_what_is_no_trace_is_named_and_not_touched(tmp_path: Path, command: str, what: str) -> None:
    make, words = NO_TRACES[what]
    path = make(tmp_path)
    before = path.read_bytes() if path.is_file() else None
    done = run(command, str(path), *(["--as", "text"] if command == "export" else []))
    assert_three_parts(done)
    assert words in done.stderr
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_ring_of_a_program_that_was_killed_opens_like_a_trace_even_with_flipped_bits(tmp_path: Path) -> None:
    path = tmp_path / "x.ring"
    ring.create(path, ring.MIN_BYTES, 1, {"pid": 1})
    writer = ring.Writer(path)
    for i in range(50):
        writer.append(RECORD.pack(i, Kind.MARK, 0, 0, 0, 0, 0, 0))
    whole = path.read_bytes()
    assert json.loads(run("info", str(path), "--json").stdout)["events"] == 50
    at = [*range(0, 200, 29), ring.HEADER_BYTES + 3, ring.HEADER_BYTES + 20, writer.layout.records_offset + 9]
    for byte in at:
        path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 0x44]) + whole[byte + 1 :])
        done = run("info", str(path))
        assert done.returncode in (0, 2), (byte, done.stderr)
        assert "Traceback" not in done.stderr, (byte, done.stderr)


def test_a_trace_that_was_cut_off_says_what_is_left_at_every_length(deadlock: Path, tmp_path: Path) -> None:
    data = deadlock.read_bytes()
    cut = tmp_path / "cut.gtrace"
    events = []
    for part in range(1, 9):
        cut.write_bytes(data[: len(data) * part // 8])
        done = run("info", str(cut), "--json")
        assert done.returncode == 0, done.stderr
        events.append(json.loads(done.stdout)["events"])
    assert events == sorted(events)
    assert events[-1] == greentrace.open(deadlock).event_count


def test_a_trace_that_was_cut_off_before_its_first_event_is_not_said_to_have_recorded_nothing(deadlock: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gtrace"
    cut.write_bytes(deadlock.read_bytes()[:200])
    done = run("check", str(cut))
    assert_three_parts(done)
    assert "cut off" in done.stderr


def test_a_file_that_may_not_be_read_is_said(deadlock: Path, tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "x.gtrace"
    shutil.copy(deadlock, path)
    path.chmod(0)
    assert_three_parts(run("check", str(path)))


# ---- no room, no permission


def mounted(folder: Path, options: str) -> bool:
    """Mount a small file system there, if one may."""
    folder.mkdir()
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, timeout=30).returncode == 0


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, timeout=30, check=True)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 KiB."""
    folder = tmp_path / "tiny"
    if os.getuid() or not mounted(folder, "size=32k,mode=700"):
        pytest.skip("needs the right to mount a file system")
    yield folder
    unmount(folder)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory that cannot be written in: a read-only mount for root, who may write everywhere else."""
    folder = tmp_path / "fixed"
    if os.getuid():
        folder.mkdir(mode=0o500)
        yield folder
    elif mounted(folder, "ro"):
        yield folder
        unmount(folder)
    else:
        pytest.skip("needs the right to mount a file system")


def test_a_disk_that_fills_up_ends_the_saving_and_not_the_program_and_the_ring_has_everything(tiny: Path, tmp_path: Path) -> None:
    (tiny / "fill").write_bytes(bytes(28 << 10))
    program = write(tmp_path, BUSY.replace("200", "3000") + "print('done')\n")
    done = run("record", "-o", str(tiny / "t.gtrace"), program)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    kept = Path(done.stderr.strip().rpartition("greentrace check ")[2])
    assert returned(kept) == 5
    assert run("check", str(kept)).returncode == 0
    assert run("info", str(tiny / "t.gtrace")).returncode == 0, "what was saved until then opens"


def test_no_room_for_a_ring_is_said_and_the_program_runs_or_is_refused_but_not_disturbed(tiny: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "GREENTRACE_HOME": str(tiny / "home")}
    done = run("record", "-o", str(tmp_path / "t.gtrace"), write(tmp_path, "print('ran')"), env=environment)
    assert "No ring can be made" in done.stderr
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) in ((0, "ran\n"), (2, ""))


def test_a_read_only_directory_is_said_before_anything_is_run(read_only: Path, deadlock: Path, tmp_path: Path) -> None:
    program = write(tmp_path, "print('ran')")
    assert_three_parts(run("record", "-o", str(read_only / "t.gtrace"), program))
    assert_three_parts(run("record", program, cwd=read_only))
    environment = {**os.environ, "GREENTRACE_HOME": str(read_only / "home")}
    assert_three_parts(run("record", "-o", str(tmp_path / "t.gtrace"), program, env=environment))
    assert_three_parts(run("export", str(deadlock), "--as", "text", "-o", str(read_only / "x.txt")))
    done = run("demo", "-o", str(read_only / "demo"))
    assert_three_parts(done)


@pytest.mark.parametrize("words", [["check"], ["dump"], ["dump", "--json"], ["info"], ["export", "--as", "svg"]])
def test_a_full_disk_behind_stdout_is_said(deadlock: Path, words: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        command = [*GREENTRACE, words[0], str(deadlock), *words[1:]]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 3), done.stderr
    assert done.stderr.startswith("greentrace: stdout cannot be written (No space left on device).")


# ---- programs that do what they like

ENDS = {
    "returns": "",
    "calls os._exit": "import os; os._exit(4)",
    "raises": "raise ValueError('boo')",
    "raises in a greenlet": "gevent.spawn(lambda: 1 / 0).join()",
    "calls os.abort": "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()",
    "forks and lets the child live on for a while": "import os\nif not os.fork():\n    work(); os._exit(0)\nos.wait()",
    "becomes another program": "import os; os.execv('/bin/echo', ['echo', 'hello'])",
    "closes all its descriptors": "import os; os.closerange(3, 200)",
    "changes its directory": "import os; os.chdir('/')",
    "changes its environment": "import os; os.environ.clear()",
    "takes greentrace's modules away": "import sys\nfor name in [n for n in sys.modules if 'greentrace' in n]:\n    del sys.modules[name]",
}


@pytest.mark.parametrize("end", ENDS)
def test_whatever_a_program_does_in_the_end_its_greenlets_are_all_in_the_trace(tmp_path: Path, end: str) -> None:
    program = write(tmp_path, f"{BUSY}\n{ENDS[end]}\n")
    bare = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    out = tmp_path / "t.gtrace"
    done = run("record", "-q", "-o", str(out), program)
    assert (done.returncode, done.stdout) == (bare.returncode, bare.stdout)
    # Addresses and times differ from run to run.
    assert done.stderr.count("\n") == bare.stderr.count("\n"), done.stderr
    assert "greentrace" not in done.stderr
    assert returned(out) >= 5


def test_a_program_that_is_interrupted_leaves_what_it_did_until_then(tmp_path: Path) -> None:
    program = write(tmp_path, f"{BUSY}\nprint('up', flush=True)\ngevent.sleep(60)\n")
    out = tmp_path / "t.gtrace"
    process = subprocess.Popen([*GREENTRACE, "record", "-q", "-o", str(out), program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert error.count(b"Traceback") == 1, "the program's own KeyboardInterrupt, and none of ours"
    assert returned(out) == 5


def test_a_command_that_is_killed_leaves_the_program_alone_and_the_ring_full(tmp_path: Path, home: Path) -> None:
    program = write(tmp_path, f"{BUSY}\nimport os\nprint(os.getpid(), flush=True)\ninput()\nprint('lived on')\n")
    out = tmp_path / "t.gtrace"
    process = subprocess.Popen(
        [*GREENTRACE, "record", "-q", "-o", str(out), program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    (path,) = home.glob(f"run-*/{pid}-{start_ticks(pid)}{ring.SUFFIX}")
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "lived on\n"
    assert returned(path) == 5
    assert run("info", str(out)).returncode == 0, "the trace opens up to where it was written"


REPLACED = """
import greenlet
seen = []
ours = greenlet.settrace(lambda event, arguments: seen.append(event))
gevent.joinall([gevent.spawn(work) for _ in range(5)])
print(len(seen) > 1000, callable(ours))
"""


def test_a_program_that_replaces_the_trace_callback_keeps_its_own_and_the_trace_says_when(tmp_path: Path) -> None:
    out = tmp_path / "t.gtrace"
    done = run("record", "-q", "-o", str(out), write(tmp_path, BUSY + REPLACED))
    assert (done.returncode, done.stdout, done.stderr) == (0, "True True\n", "")
    trace = greentrace.open(out)
    (finding,) = [finding for finding in trace.findings() if finding.lint == "displaced"]
    before = [g for g in trace.greenlets if g.how == How.RETURNED and g.died_ns is not None and g.died_ns < finding.t_ns]
    assert len(before) == 5
    assert "displaced" in run("check", str(out)).stdout


def test_a_trace_callback_that_was_there_before_is_called_as_ever(tmp_path: Path) -> None:
    text = (
        "import greenlet, greentrace, gevent\nseen = []\ngreenlet.settrace(lambda event, arguments: seen.append(event))\n"
        f"with greentrace.record({str(tmp_path / 't.gtrace')!r}):\n    gevent.spawn(gevent.sleep, 0).join()\n    during = len(seen)\n"
        "gevent.spawn(gevent.sleep, 0).join()\nprint(during > 2, len(seen) > during)\n"
    )
    done = subprocess.run([sys.executable, write(tmp_path, text)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True True\n", "")
