"""The windows in a browser: served on this machine, to nobody else."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import GREENTRACE

_PATIENCE_SECONDS = 60


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(deadlock: Path, port: int, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [*GREENTRACE, "replay", "--web", "--port", str(port), str(deadlock)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    yield process
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    finally:
        process.kill()
        process.communicate()


async def _get(session: aiohttp.ClientSession, url: str, **headers: str) -> aiohttp.ClientResponse:
    end = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    while True:
        try:
            response = await session.get(url, headers=headers)
            await response.read()
        except aiohttp.ClientConnectorError:
            assert asyncio.get_running_loop().time() < end
            await asyncio.sleep(0.1)
        else:
            return response


async def test_a_page_shows_the_windows_and_its_keys_reach_them(server: subprocess.Popen[str], port: int) -> None:
    async with aiohttp.ClientSession() as session:
        page = await _get(session, f"http://127.0.0.1:{port}/")
        assert page.status == 200
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        async with session.ws_connect(f"ws://127.0.0.1:{port}/ws?width=100&height=30", origin=f"http://127.0.0.1:{port}") as ws:
            await _until(ws, "Deadlock: alice and bob wait for each other")
            await ws.send_str(json.dumps(["stdin", "4"]))
            await _until(ws, "DEADLOCK of 2")
    assert server.stderr is not None
    said = server.stderr.readline() + server.stderr.readline()
    assert f"http://127.0.0.1:{port}" in said
    assert "no login" in said


async def _until(ws: aiohttp.ClientWebSocketResponse, words: str) -> None:
    seen = ""
    while words not in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen):
        message = await ws.receive(timeout=_PATIENCE_SECONDS)
        assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), seen
        seen += message.data.decode("utf-8", "replace") if isinstance(message.data, bytes) else ""


async def test_the_page_of_somebody_else_is_refused(server: subprocess.Popen[str], port: int) -> None:
    async with aiohttp.ClientSession() as session:
        assert (await _get(session, f"http://127.0.0.1:{port}/", Host="evil.example")).status == 403
        assert (await _get(session, f"http://127.0.0.1:{port}/", Origin="http://evil.example")).status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"ws://127.0.0.1:{port}/ws", origin="http://evil.example")


def test_a_port_that_is_taken_gets_three_sentences(deadlock: Path, port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        done = subprocess.run(
            [*GREENTRACE, "replay", "--web", "--port", str(port), str(deadlock)], capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 2
    assert f"Port {port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_textual_serve_it_says_what_to_install(deadlock: Path, tmp_path: Path) -> None:
    (tmp_path / "textual_serve.py").write_text("raise ImportError")
    command = [*GREENTRACE, "replay", "--web", str(deadlock)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 2
    assert "greentrace[web]" in done.stderr
