"""Visit: commands reach programs that never heard of us, say what hangs there, and leave them as they were."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from greentrace import processes, ring
from greentrace.attach import foothold, guest, visit
from greentrace.attach.entry import run_inside
from greentrace.errors import CannotAttach
from greentrace.events import Op
from greentrace.replay import reader
from tests.attach.hanging import GEVENT, LOOK, MAIN, PROGRAMS, ask, command, deadlocked, goes_on, order, record
from tests.attach.programs import SECONDS, Program, await_, borrowed
from tests.attach.test_unharmed import CONTAINER

Start = Callable[..., Program]


@pytest.fixture(autouse=True)
def _no_camp_is_left() -> Iterator[None]:
    def camps() -> set[str]:
        return {f"{place}/{name}" for place in ("/dev/shm", "/tmp", "/var/tmp") for name in os.listdir(place) if len(name) == 43}

    before = camps()
    yield
    left = {path for path in camps() - before if Path(path).name.startswith("greentrace-")}
    # Another test may be at work beside us; what is its own, goes.
    await_(lambda: not any(Path(path).exists() for path in left))


# ---- what hangs is found


@pytest.mark.parametrize("which", PROGRAMS)
def test_what_hangs_is_named_and_the_program_goes_on_as_before(start: Start, which: str) -> None:
    program = start(PROGRAMS[which])
    done = command("check", program.pid, "--json")
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    # A Semaphore of eventlet does not remember how many it let in at first.
    is_proven = which not in ("eventlet", "eventlet, in another thread")
    assert said["verdict"] == ("deadlock" if is_proven else "findings")
    [deadlock] = [finding for finding in said["findings"] if finding["lint"] == ("deadlock" if is_proven else "suspected-deadlock")]
    assert sorted(greenlet["function"] for greenlet in deadlock["greenlets"]) == ["alice", "bob"]
    assert {resource["kind"] for resource in deadlock["resources"]} <= {"semaphore", "lock", "rlock"}
    goes_on(program)
    assert borrowed(program.pid) == 0
    assert program.end() == (0, "")


def test_from_then_on_it_is_recorded_until_the_recorder_is_asked_to_end(start: Start, tmp_path: Path) -> None:
    program, out = start(PROGRAMS["gevent"]), tmp_path / "late.gtrace"
    recording = record(program.pid, out)
    order(program, "spawn(sleep, 0.02).join()")
    recording.send_signal(signal.SIGINT)
    _, said = recording.communicate(timeout=SECONDS)
    assert recording.returncode == 0, said
    assert not processes.is_recording(program.pid)
    goes_on(program)
    assert deadlocked(out) == {"alice", "bob"}
    told = json.loads(command("info", out, "--json").stdout)
    assert told["gaps"] == 0
    assert told["events_by_kind"]["SWITCH"] > 4
    assert told["events_by_kind"]["FINISH"] == 1
    assert program.end() == (0, "")


def test_a_ring_that_is_too_small_for_all_that_live_is_made_larger(start: Start) -> None:
    count = 2_000
    program = start(f"{GEVENT}\ncrowd = [spawn(sleep, 3600) for _ in range({count})]{MAIN}")
    visited = visit.enter(program.pid, ring_bytes=ring.MIN_BYTES)
    # So much that what was told at first is overwritten: whoever comes then has the keyframes alone.
    order(program, "for _ in range(100_000): sleep(0)")
    follower = ring.Follower(visited.ring)
    assert follower.skipped > 0
    follower.close()
    with reader.open(visited.ring) as trace:
        world = trace.at(trace.end_ns)
        asleep = [one for one in world.greenlets.values() if [wait.op for wait in one.waits] == [Op.SLEEP] and one.deadline_ns]
    assert len(asleep) >= count
    visited.leave()
    goes_on(program)
    assert program.end() == (0, "")


def test_a_recorder_that_is_terminated_leaves_the_program_too(start: Start, tmp_path: Path) -> None:
    program, out = start(PROGRAMS["eventlet, patched"]), tmp_path / "late.gtrace"
    recording = record(program.pid, out)
    recording.terminate()
    assert recording.wait(SECONDS) == 128 + signal.SIGTERM
    assert deadlocked(out) == {"alice", "bob"}
    assert not processes.is_recording(program.pid)
    goes_on(program)


def test_a_recorder_that_is_killed_leaves_a_program_that_records_and_detach_ends_that(start: Start, tmp_path: Path) -> None:
    program = start(PROGRAMS["gevent"])
    recording = record(program.pid, tmp_path / "late.gtrace")
    recording.kill()
    recording.wait(SECONDS)
    found = processes.find_ring(program.pid)
    assert found is not None
    assert found.recording
    for part, mode in ((found.path.parent, 0o700), (found.path, 0o600)):
        assert part.stat().st_mode & 0o777 == mode
    # Whoever comes now finds it recording.
    assert command("check", program.pid).returncode == 1
    done = command("detach", program.pid)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"process {program.pid} records no more" in done.stderr
    assert not processes.is_recording(program.pid)
    assert not found.path.parent.exists()
    goes_on(program)
    again = command("detach", program.pid)
    assert again.returncode == 2
    assert "is not recording" in again.stderr


# ---- and given back


@pytest.mark.parametrize("which", ["gevent", "eventlet, patched", "gevent, in another thread"])
def test_nothing_of_us_is_left_in_the_program(start: Start, which: str) -> None:
    program = start(PROGRAMS[which])
    with guest.host(program.pid) as ring:
        assert deadlocked(ring) == {"alice", "bob"}
        within = run_inside(program.pid, LOOK).answer
        assert within["rings"] == 1
        assert within["tags"] > 0
    first = run_inside(program.pid, LOOK).answer
    assert (first["rings"], first["tags"]) == (0, 0)
    for _ in range(3):
        with guest.host(program.pid):
            pass
    assert run_inside(program.pid, LOOK).answer == first
    goes_on(program)
    assert program.end() == (0, "")


def test_before_and_after_are_the_same(start: Start) -> None:
    program = start(PROGRAMS["gevent, patched"])
    before = run_inside(program.pid, LOOK).answer
    with guest.host(program.pid):
        pass
    after = run_inside(program.pid, LOOK).answer
    # What was imported stays imported where the program could import it by itself.
    for look in (before, after):
        del look["modules"]
    assert after == before


def test_a_child_that_it_forks_meanwhile_is_left_too(start: Start) -> None:
    program = start(PROGRAMS["gevent"])
    with guest.host(program.pid) as rings:
        order(program, "done.append(gevent.fork() or done.append('child') or 0)")
        child = ask(program, "m.done[0]")
        try:
            await_(lambda: len(list(rings.glob("*.ring"))) == 2)
            await_(lambda: processes.is_recording(child))
        except BaseException:
            os.kill(child, signal.SIGKILL)
            raise
    try:
        assert not processes.is_recording(child)
        assert run_inside(child, "import greenlet; answer = repr(greenlet.gettrace())").answer == "None"
        goes_on(program)
    finally:
        os.kill(child, signal.SIGKILL)


# ---- wherever it runs


@pytest.fixture
def bare_python(python: str, tmp_path: Path) -> Callable[..., Program]:
    """Start a program on the same Python without any package of its environment but greenlet and gevent."""
    ask_it = "import greenlet, sys; print(sys._base_executable, greenlet.__file__)"
    base, greenlet_file = subprocess.run([python, "-c", ask_it], capture_output=True, text=True, check=True).stdout.split()
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in ("greenlet", "gevent", "zope"):
        (packages / name).symlink_to(Path(greenlet_file).parents[1] / name)
    tmp_path.chmod(0o755)

    def run(text: str, *before: str) -> Program:
        text = f"import os, sys\nsys.path.insert(0, {str(packages)!r})\ndef ready():\n    os.write(1, b'ready\\n')\n{text}"
        return Program([*before, base, "-W", "ignore", "-c", text], cwd=tmp_path)

    return run


def test_an_environment_without_greentrace_has_none_afterwards(bare_python: Callable[..., Program]) -> None:
    program = bare_python(PROGRAMS["gevent"])
    try:
        before = run_inside(program.pid, LOOK).answer
        with guest.host(program.pid) as ring:
            assert deadlocked(ring) == {"alice", "bob"}
        after = run_inside(program.pid, LOOK).answer
        assert after.pop("modules") == []
        assert before.pop("modules") == []
        assert after == before
        goes_on(program)
    finally:
        assert program.end() == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_program_of_another_user_reads_a_copy_that_it_cannot_change(
    bare_python: Callable[..., Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not everybody may read this Python's own library.
    names = [name for name in sys.modules if name in sys.stdlib_module_names]
    become = f"for name in {names}: __import__(name)\nos.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\nothers = ["
    program = bare_python(PROGRAMS["gevent"].replace("others = [", become))
    try:
        monkeypatch.setattr(visit, "_can_read", lambda target, package: False)
        with guest.host(program.pid) as ring:
            place = Path(ask(program, "sys.modules['greentrace'].__path__[0]"))
            assert place.parent.parent == ring.parent
            for path in (place, *place.rglob("*")):
                assert path.stat().st_uid == 0
                assert path.stat().st_mode & 0o022 == 0
            assert ring.stat().st_uid == 65534
            assert deadlocked(ring) == {"alice", "bob"}
        assert not place.exists()
        assert ask(program, "'greentrace' in sys.modules") is False
        goes_on(program)
    finally:
        assert program.end() == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces here")
def test_a_program_in_a_container(bare_python: Callable[..., Program]) -> None:
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"], capture_output=True).returncode:
        pytest.skip("no namespaces can be made here")
    outer = bare_python(PROGRAMS["gevent"], *CONTAINER)
    (pid,) = (int(word) for word in Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split())
    try:
        with guest.host(pid) as ring:
            assert deadlocked(ring) == {"alice", "bob"}
        assert not [name for name in os.listdir(f"/proc/{pid}/root/dev/shm") if name.startswith("greentrace-")]
        assert run_inside(pid, "import sys; answer = 'greentrace' in sys.modules").answer is False
    finally:
        os.kill(pid, signal.SIGKILL)
        outer.drop()


def test_the_workers_of_a_server_are_entered_with_it(start: Start, tmp_path: Path) -> None:
    workers = """
import os
children = []
for _ in range(2):
    pid = os.fork()
    if not pid:
        others = [spawn(alice), spawn(bob)]
        serve()
    children.append(pid)
ready()
while True: gevent.sleep(0.01)
"""
    program, out = start(f"{GEVENT}{workers}"), tmp_path / "tree.gtrace"
    children = ask(program, "m.children")
    try:
        for child in children:
            await_(lambda child=child: bool(run_inside(child, "import sys; answer = sys.modules['__main__'].turns").answer > 20))  # type: ignore[misc]
        recording = record(program.pid, out, "--tree")
        recording.send_signal(signal.SIGINT)
        _, said = recording.communicate(timeout=SECONDS)
        assert recording.returncode == 0, said
        assert not any(processes.is_recording(pid) for pid in (program.pid, *children))
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
    with reader.open(out) as trace:
        assert len(trace.processes) == 3
        assert len(trace.deadlocks()) == 2


# ---- what cannot be


def test_a_stopped_program_is_described_from_outside(start: Start) -> None:
    program = start(PROGRAMS["gevent"])
    os.kill(program.pid, signal.SIGSTOP)
    await_(lambda: "State:\tT" in Path(f"/proc/{program.pid}/status").read_text())
    done = command("check", program.pid)
    assert (done.returncode, done.stdout) == (2, "")
    assert "From outside:" in done.stderr
    assert "kill -CONT" in done.stderr
    os.kill(program.pid, signal.SIGCONT)
    goes_on(program)


def test_a_program_without_greenlets_is_told_apart(start: Start) -> None:
    program = start("import time; ready(); time.sleep(3600)")
    done = command("check", program.pid)
    assert (done.returncode, done.stdout) == (2, "")
    assert "greenlet" in done.stderr
    assert program.is_alive()


def test_of_two_visitors_the_second_finds_it_recording(start: Start) -> None:
    program = start(PROGRAMS["gevent"])
    with guest.host(program.pid) as first, guest.host(program.pid) as second:
        assert second.parent == first or second == first
        assert deadlocked(second) == {"alice", "bob"}
    assert not processes.is_recording(program.pid)


@pytest.mark.parametrize(("first", "second"), [(foothold.SHORT, foothold.LONG), (foothold.LONG, foothold.SHORT)])
def test_of_two_at_work_the_last_gives_the_program_its_turns_back(first: float, second: float) -> None:
    before = sys.getswitchinterval()
    foothold.change_turns(first)
    foothold.change_turns(second)
    foothold.change_turns_back(first)
    assert sys.getswitchinterval() == pytest.approx(second)
    foothold.change_turns_back(second)
    assert sys.getswitchinterval() == before


def test_a_refusal_inside_leaves_the_program_as_it_was(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    program = start(PROGRAMS["gevent"])
    monkeypatch.setattr(visit, "__version__", "0.0.0.other")
    with pytest.raises(CannotAttach, match="And|and this is greentrace 0.0.0.other"), guest.host(program.pid):
        pass
    goes_on(program)
