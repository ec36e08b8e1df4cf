"""Outside: what the outside of a process shows is what the process did; what this machine allows is found out by doing it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from greentrace.attach.capabilities import capabilities
from greentrace.attach.outside import outside
from tests.attach.programs import Program, await_, await_sleep

SERVER = """
import socket, threading, time
server = socket.create_server(("127.0.0.1", 0)); six = socket.create_server(("::1", 0), family=socket.AF_INET6)
client = socket.create_connection(server.getsockname()); accepted, _ = server.accept(); client.send(b"xyz")
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); datagrams.bind(("127.0.0.1", 0))
path = socket.socket(socket.AF_UNIX); path.bind({path!r}); path.listen()
for each in (server, six, client, accepted, datagrams, path): print(each.fileno(), each.getsockname(), flush=True)
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
ready(); os.read(0, 1)
"""


def test_threads_sockets_memory_and_age_of_a_program(python: str, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    process = subprocess.Popen(
        [python, "-c", "import os\ndef ready(): print('ready', flush=True)\n" + SERVER.format(path=path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        fds = []
        while (line := process.stdout.readline()) != "ready\n":
            fds.append(int(line.split()[0]))
        await_sleep(process.pid)
        for thread in os.listdir(f"/proc/{process.pid}/task"):
            await_sleep(process.pid, int(thread))
        seen = outside(process.pid)
        assert seen is not None
        assert (seen.state, seen.user, seen.tracer) == ("sleeping", os.geteuid(), 0)
        assert seen.resident_bytes > 1 << 20
        assert 0 <= seen.age_s < 3600
        assert abs(time.time() - seen.since_s) < 3600
        assert "socket.create_server" in seen.command
        assert seen.threads[0].native_id == process.pid
        assert [thread.system_call for thread in seen.threads] == ["read", "clock_nanosleep"]
        sockets = {found.fd: found for found in seen.sockets}
        server, six, client, accepted, datagrams, unix = (sockets[fd] for fd in fds)
        assert (server.kind, server.state, server.peer) == ("tcp", "listening", "")
        assert six.local.startswith("[::1]:")
        assert (client.state, client.peer, client.local) == ("connected", server.local, accepted.peer)
        assert accepted.queued_bytes == 3
        assert (datagrams.kind, datagrams.peer) == ("udp", "")
        assert (unix.kind, unix.state, unix.local) == ("unix", "listening", path)
        assert seen.open_files is not None
        assert seen.open_files >= 9
    finally:
        process.kill()
        process.communicate()


def test_a_process_that_cannot_be_entered_is_told_of_all_the_same(start: Callable[..., Program]) -> None:
    program = start("ready(); os.read(0, 1)")
    os.kill(program.pid, signal.SIGSTOP)
    await_(lambda: " T " in Path(f"/proc/{program.pid}/stat").read_text())
    seen = outside(program.pid)
    assert seen is not None
    assert seen.state == "stopped by a signal"
    program.end()
    assert outside(program.pid) is None


def test_this_machine_was_tried() -> None:
    found = capabilities()
    assert found.can_enter_a_child
    assert found.tried is not None
    assert found.tried.gave_back
    assert found.refusal is None
    assert found.can_enter_others == (found.scope in (None, 0) or found.has_sys_ptrace)
