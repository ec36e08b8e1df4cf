"""The command line as a person types it: what it prints, its exit codes, and what it says of a mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from greentrace.cli import cli
from tests.conftest import GREENTRACE, SAMPLES


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    settings: dict[str, object] = {"capture_output": True, "text": True, "timeout": 120, "stdin": subprocess.DEVNULL, **options}
    return subprocess.run([*GREENTRACE, *arguments], **settings)  # type: ignore[call-overload, no-any-return]


def assert_three_parts(done: subprocess.CompletedProcess[str]) -> None:
    """Exit code 2, one message of three sentences, no Python traceback, nothing on stdout."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-3].startswith("greentrace: "), done.stderr
    assert all(line.strip().endswith((".", ":", ")")) or line.startswith("  ") for line in lines[-3:]), done.stderr
    assert done.stdout == ""


def write(folder: Path, text: str) -> str:
    path = folder / "program.py"
    path.write_text(text)
    return str(path)


def test_help_names_every_command() -> None:
    text = run("--help").stdout
    for name in ("record", "attach", "replay", "dump", "check", "export", "info", "ps", "demo", "doctor"):
        assert re.search(rf"^  {name} ", text, re.M), name
        assert run(name, "--help").returncode == 0


def test_check_says_in_its_first_line_who_is_deadlocked_on_what_since_when_and_by_which_switch(deadlock: Path) -> None:
    done = run("check", str(deadlock))
    assert done.returncode == 1
    first = done.stdout.splitlines()[0]
    assert "alice and bob" in first
    assert first.count("created at deadlock_two_locks.py:") == 2
    assert re.search(r"since \d+\.\d+ s, closed by switch #\d+ away from (alice|bob)", first)


def test_check_of_a_healthy_program_is_ok_with_exit_code_0(record: Callable[..., Path], tmp_path: Path) -> None:
    trace = record(write(tmp_path, "import gevent\ngevent.joinall([gevent.spawn(gevent.sleep, 0.01) for _ in range(3)])\n"))
    done = run("check", str(trace))
    assert (done.returncode, done.stdout[:3]) == (0, "OK:")


def test_check_json_keeps_its_contract(deadlock: Path) -> None:
    document = json.loads(run("check", str(deadlock), "--json").stdout)
    assert set(document) == {"verdict", "findings", "gaps"}
    assert (document["verdict"], document["gaps"]) == ("deadlock", 0)
    finding = document["findings"][0]
    assert set(finding) == {"lint", "level", "t", "text", "greenlets", "resources", "events", "victims"}
    assert (finding["lint"], finding["level"]) == ("deadlock", "error")
    assert {g["name"] for g in finding["greenlets"]} == {"alice", "bob"}
    assert all(set(g) == {"id", "name", "function", "process"} for g in finding["greenlets"])
    assert all(set(r) == {"id", "kind", "site"} for r in finding["resources"])
    assert 0 < finding["t"] < 5


def test_dump_json_keeps_its_contract(deadlock: Path) -> None:
    document = json.loads(run("dump", str(deadlock), "--json").stdout)
    assert {"verdict", "findings", "gaps", "t", "greenlets"} == set(document)
    alice = next(g for g in document["greenlets"] if g["name"] == "alice")
    wanted = {"id", "process", "name", "function", "state", "since", "stack", "waits_on", "holds", "spawned_at", "spawner", "doomed"}
    assert set(alice) == wanted
    assert alice["state"] == "parked"
    assert alice["doomed"]
    assert alice["stack"][0]["function"] == "alice"
    assert set(alice["stack"][0]) == {"file", "line", "function"}
    assert set(alice["waits_on"][0]) == {"resource", "kind", "deadline", "observed"}
    bob = next(g for g in document["greenlets"] if g["name"] == "bob")
    assert alice["waits_on"][0]["resource"] == bob["holds"][0]["id"]
    assert bob["waits_on"][0]["resource"] == alice["holds"][0]["id"]


def test_dump_at_a_moment_before_the_deadlock_says_nothing_of_it(deadlock: Path) -> None:
    before = json.loads(run("dump", str(deadlock), "--json", "--at", "0.0").stdout)
    assert before["verdict"] == "ok"
    after = json.loads(run("dump", str(deadlock), "--json", "--at", "deadlock").stdout)
    assert after["verdict"] == "deadlock"
    assert {g["name"] for g in after["greenlets"] if g["doomed"]} >= {"alice", "bob"}


def test_dump_as_text_gives_every_greenlets_state_stack_wait_and_holdings(deadlock: Path) -> None:
    text = run("dump", str(deadlock)).stdout
    for words in ("alice: parked", "waits to acquire", "holds ", "spawned at", "stack, innermost first:", "in alice", "held by"):
        assert words in text


@pytest.mark.parametrize("form", ["svg", "png", "dot", "text", "json"])
def test_export_writes_the_wait_for_graph(deadlock: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / f"waits.{form}"
    done = run("export", str(deadlock), "--as", form, "--view", "waits", "-o", str(out))
    assert done.returncode == 0, done.stderr
    data = out.read_bytes()
    assert data.startswith(b"\x89PNG") if form == "png" else b"alice" in data


def test_export_of_a_view_in_a_format_that_it_has_not_says_which_it_has(deadlock: Path) -> None:
    done = run("export", str(deadlock), "--as", "png", "--view", "timeline", "-o", "x.png")
    assert_three_parts(done)
    assert "svg" in done.stderr


def test_info_counts_what_is_inside(deadlock: Path) -> None:
    facts = json.loads(run("info", str(deadlock), "--json").stdout)
    assert facts["events"] == sum(facts["events_by_kind"].values())
    assert facts["greenlets"] >= 4
    assert facts["processes"][0]["exit"]["code"] == 0
    assert "events by kind" in run("info", str(deadlock)).stdout


def test_record_passes_stdin_output_and_exit_code_through(tmp_path: Path) -> None:
    program = write(tmp_path, "import sys\nsys.stdout.write(sys.stdin.read().upper())\nsys.stderr.write('err')\nsys.exit(5)\n")
    done = run("record", "-q", "-o", str(tmp_path / "t.gtrace"), program, input="hello", stdin=None)
    assert (done.returncode, done.stdout, done.stderr) == (5, "HELLO", "err")


def test_record_gives_the_program_its_own_arguments(tmp_path: Path) -> None:
    program = write(tmp_path, "import sys\nprint(sys.argv[1:], __name__, sys.path[0])\n")
    bare = subprocess.run([sys.executable, program, "-o", "--json", "x"], capture_output=True, text=True, timeout=60)
    recorded = run("record", "-q", "-o", str(tmp_path / "t.gtrace"), program, "-o", "--json", "x")
    assert recorded.stdout == bare.stdout


ENDS = ["os._exit(4)", "raise ValueError('boo')", "os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGTERM)"]


@pytest.mark.parametrize("end", ENDS)
def test_whatever_ends_the_program_ends_the_command_alike_and_nothing_is_lost(tmp_path: Path, end: str) -> None:
    program = write(tmp_path, f"import gevent, os, signal\ngevent.spawn(gevent.sleep, 0).join()\nmarker = 1\n{end}\n")
    bare = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
    out = tmp_path / "t.gtrace"
    recorded = run("record", "-q", "-o", str(out), program)
    assert (recorded.returncode, recorded.stdout, recorded.stderr) == (bare.returncode, bare.stdout, bare.stderr)
    facts = json.loads(run("info", str(out), "--json").stdout)
    assert facts["events_by_kind"]["FINISH"] == 1


def test_an_interrupt_for_the_command_alone_reaches_the_program(tmp_path: Path) -> None:
    text = "import gevent\ntry:\n    print('up', flush=True)\n    gevent.sleep(60)\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    program = write(tmp_path, text)
    command = [*GREENTRACE, "record", "-q", "-o", str(tmp_path / "t.gtrace"), program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert "interrupted" in out, err


def test_a_program_that_forks_appears_with_both_processes(tmp_path: Path) -> None:
    program = write(tmp_path, "import gevent, os\npid = os.fork()\ngevent.sleep(0.01)\nif pid:\n    os.waitpid(pid, 0)\n")
    out = tmp_path / "t.gtrace"
    run("record", "-q", "-o", str(out), program)
    facts = json.loads(run("info", str(out), "--json").stdout)
    assert len(facts["processes"]) == 2
    assert facts["processes"][1]["ppid"] == facts["processes"][0]["pid"]


def test_a_script_that_does_not_exist_is_refused_before_anything_is_run(tmp_path: Path) -> None:
    assert_three_parts(run("record", "-o", str(tmp_path / "t.gtrace"), "no_such_script.py"))
    assert not (tmp_path / "t.gtrace").exists()


def test_a_program_that_is_not_python_is_refused(tmp_path: Path) -> None:
    done = run("record", "-o", str(tmp_path / "t.gtrace"), "ls")
    assert_three_parts(done)
    assert "not a Python program" in done.stderr


def test_a_trace_that_cannot_be_written_is_said_before_anything_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    program = write(tmp_path, f"open({str(marker)!r}, 'w')\n")
    assert_three_parts(run("record", "-o", str(tmp_path / "no" / "such" / "t.gtrace"), program))
    assert not marker.exists()


def test_a_home_that_is_not_a_directory_is_said_before_anything_is_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment = {**os.environ, "GREENTRACE_HOME": str(tmp_path / "file")}
    assert_three_parts(run("record", "-o", str(tmp_path / "t.gtrace"), write(tmp_path, "pass"), env=environment))


def test_a_full_disk_ends_the_recording_and_not_the_program(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    done = run("record", "-o", "/dev/full", write(tmp_path, "print('ran')"))
    assert_three_parts(done)
    assert "No space" in done.stderr


@pytest.mark.parametrize("command", ["check", "dump", "info"])
def test_a_file_that_is_no_trace_gives_one_message(tmp_path: Path, command: str) -> None:
    path = tmp_path / "x.gtrace"
    path.write_bytes(b"hello, this is not a trace, but a text that is long enough to be mistaken for a header of one")
    assert_three_parts(run(command, str(path)))
    assert_three_parts(run(command, str(tmp_path / "missing.gtrace")))


def test_a_trace_that_was_cut_off_opens_up_to_the_cut(deadlock: Path, tmp_path: Path) -> None:
    data = deadlock.read_bytes()
    cut = tmp_path / "cut.gtrace"
    cut.write_bytes(data[: len(data) - 60])
    done = run("check", str(cut))
    assert done.returncode == 1
    assert "alice and bob" in done.stdout


def test_a_trace_with_flipped_bits_gives_a_message_or_a_smaller_trace_but_never_a_traceback(deadlock: Path, tmp_path: Path) -> None:
    data = deadlock.read_bytes()
    flipped = tmp_path / "flipped.gtrace"
    for at in range(0, len(data), max(len(data) // 12, 1)):
        flipped.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        done = run("dump", str(flipped))
        assert done.returncode in (0, 2), (at, done.stderr)
        assert "Traceback" not in done.stderr, (at, done.stderr)


def test_a_moment_outside_the_trace_is_refused(deadlock: Path) -> None:
    for moment in ("99", "yesterday", "#123456789"):
        assert_three_parts(run("dump", str(deadlock), "--at", moment))


def test_a_lint_that_does_not_exist_is_refused_with_the_names_of_those_that_do(deadlock: Path) -> None:
    done = run("check", str(deadlock), "-A", "nonsense")
    assert_three_parts(done)
    assert "deadlock" in done.stderr


def test_an_allowed_lint_is_silent(deadlock: Path) -> None:
    done = run("check", str(deadlock), "-A", "deadlock")
    assert "alice and bob wait" not in done.stdout


def test_attach_needs_a_terminal_before_it_touches_anything() -> None:
    done = run("attach", str(os.getpid()))
    assert_three_parts(done)
    assert "terminal" in done.stderr


def test_a_process_that_cannot_be_entered_says_why_and_what_can_be_seen_of_it(tmp_path: Path) -> None:
    assert_three_parts(run("check", "999999999"))
    sleeper = subprocess.Popen(["sleep", "30"])
    python = subprocess.Popen([sys.executable, "-c", "print('up', flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert python.stdout is not None
        python.stdout.readline()
        done = run("check", str(sleeper.pid))
        assert_three_parts(done)
        assert "is not a CPython program" in done.stderr
        assert "From outside: sleep 30" in done.stderr
        done = run("dump", str(python.pid))
        assert_three_parts(done)
        assert "has not loaded the greenlet library" in done.stderr
    finally:
        sleeper.kill()
        sleeper.wait()
        python.communicate(timeout=10)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
def test_a_process_of_another_user_is_not_touched(tmp_path: Path) -> None:
    code = (
        "import os; from greentrace import errors; from greentrace.attach import guest; os.setuid(65534)\n"
        f"try:\n    guest.host({os.getpid()}).__enter__()\nexcept errors.CannotAttach as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "belongs to another user" in done.stdout, done.stderr


def test_check_dump_and_ps_see_a_program_while_it_records(tmp_path: Path) -> None:
    program = [str(SAMPLES / "deadlock_two_locks.py"), "gevent", "--for", "60"]
    process = subprocess.Popen([*GREENTRACE, "record", "-q", "-o", str(tmp_path / "t.gtrace"), *program], stderr=subprocess.DEVNULL)
    try:
        pid = _child_that_records()
        for _ in range(100):
            done = run("check", str(pid))
            if done.returncode == 1:
                break
            time.sleep(0.05)
        assert "alice and bob" in done.stdout
        assert "alice" in run("dump", str(pid)).stdout
        rows = json.loads(run("ps", "--json").stdout)
        assert next(row for row in rows if row["pid"] == pid)["recording"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _child_that_records() -> int:
    from greentrace.processes import rings

    for _ in range(200):
        if rings():
            return next(iter(rings()))
        time.sleep(0.05)
    raise AssertionError("nothing records")


def test_doctor_says_what_works() -> None:
    done = run("doctor")
    assert done.returncode == 0
    for word in ("Python", "recorder", "rings", "pictures", "entering a running program"):
        assert word in done.stdout


def test_the_tui_without_a_terminal_is_refused(deadlock: Path) -> None:
    assert_three_parts(run("replay", str(deadlock)))


def test_every_command_of_the_group_is_documented() -> None:
    for name, command in cli.commands.items():
        assert command.help, name


def test_the_python_interface_records_a_with_block(tmp_path: Path) -> None:
    out = tmp_path / "block.gtrace"
    lines = [
        "import greentrace, gevent",
        f"with greentrace.record({str(out)!r}):",
        "    greentrace.mark('here')",
        "    gevent.spawn(gevent.sleep, 0).join()",
        f"print(len(greentrace.open({str(out)!r}).greenlets))",
    ]
    program = write(tmp_path, "\n".join(lines))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3
    facts = json.loads(run("info", str(out), "--json").stdout)
    assert facts["events_by_kind"]["MARK"] == 1


def test_a_reader_that_stops_early_is_no_error(deadlock: Path) -> None:
    a, b = socket.socketpair()
    with a, b:
        b.close()
        done = subprocess.run([*GREENTRACE, "dump", str(deadlock)], stdout=a.fileno(), stderr=subprocess.PIPE, text=True, timeout=60)
    assert "Traceback" not in done.stderr
