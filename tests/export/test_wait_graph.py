"""The picture of a wait-for graph: what it tells, that names cannot break it, and that both renderers draw it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from greentrace.errors import BadInput
from greentrace.export import render, text, wait_graph
from greentrace.replay import reader
from tests.conftest import SAMPLES

RING = """
import gevent
from gevent.lock import Semaphore
def waits(left, right):
    with left:
        gevent.sleep(0.01)
        with right: pass
def behind(lock):
    with lock: pass
locks = [Semaphore(1) for _ in range(12)]
threads = [gevent.spawn(waits, locks[i], locks[(i + 1) % 12]) for i in range(12)]
gevent.sleep(0.05)
threads += [gevent.spawn(behind, locks[i % 12]) for i in range(24)]
threads += [gevent.spawn(gevent.sleep, 5) for _ in range(7)]
gevent.sleep(0.05)
"""


def picture(trace: Path) -> str:
    opened = reader.open(trace)
    return str(wait_graph.draw(opened.graph(opened.end_ns), "a caption").source)


def test_a_deadlock_is_told_by_colour_by_shape_and_by_word(deadlock: Path) -> None:
    dot = picture(deadlock)
    nodes = [line for line in dot.splitlines() if re.match(r"\s*g\d+ \[", line)]
    assert len(nodes) == 2 or sum("DEADLOCKED" in node for node in nodes) == 2
    for node in nodes:
        if "DEADLOCKED" in node:
            assert "peripheries=2" in node
            assert wait_graph.RED in node
    assert dot.count("penwidth=2.6") == 4, "two waits and two holds make the ring"
    assert "a caption" in dot
    assert "Legend" in dot


def test_victims_stand_apart_and_those_who_wait_alike_are_drawn_once(record: Callable[..., Path], tmp_path: Path) -> None:
    program = tmp_path / "ring.py"
    program.write_text(RING)
    dot = picture(record(str(program)))
    assert dot.count("DEADLOCKED") == 12
    victims = [line for line in dot.splitlines() if "VICTIM" in line and "g" in line.split("[")[0]]
    assert len(victims) == 12
    assert all("dashed" in line and wait_graph.AMBER in line for line in victims)
    assert re.search(r"not drawn: .*7 sleep", dot)


def test_long_and_strange_names_are_clipped_and_cannot_break_out(record: Callable[..., Path], tmp_path: Path) -> None:
    program = tmp_path / 'str"ange\\n[x].py'
    program.write_text(
        "import gevent\nfrom gevent.lock import Semaphore\n"
        f"def {'long_name_' * 20}(lock):\n    with lock:\n        with lock: pass\n"
        f"gevent.spawn({'long_name_' * 20}, Semaphore(1))\ngevent.sleep(0.02)\n"
    )
    trace = reader.open(record(str(program)))
    dot = wait_graph.draw(trace.graph(trace.end_ns), 'cap"tion')
    assert "long_name_" * 20 not in dot.source
    svg = render.render(dot, "svg").decode()
    assert "long_name_" in svg
    assert "waits for itself" in svg


@pytest.mark.parametrize("using", ["system", "pure"])
@pytest.mark.parametrize("form", ["svg", "png"])
def test_both_renderers_draw(deadlock: Path, using: render.Renderer, form: str) -> None:
    if using == "system" and render.renderer() != "system":
        pytest.skip("no Graphviz on the path")
    trace = reader.open(deadlock)
    data = render.render(wait_graph.draw(trace.graph(trace.end_ns), "x"), form, using)
    assert data.startswith(b"\x89PNG") if form == "png" else b"<svg" in data


def test_pdf_without_graphviz_says_what_it_needs(deadlock: Path) -> None:
    trace = reader.open(deadlock)
    with pytest.raises(BadInput, match="PDF needs Graphviz"):
        render.render(wait_graph.draw(trace.graph(trace.end_ns), "x"), "pdf", "pure")


def test_a_healthy_program_has_a_picture_too(record: Callable[..., Path]) -> None:
    trace = reader.open(record(str(SAMPLES / "producer_consumer.py"), "gevent"))
    dot = wait_graph.draw(trace.graph(trace.end_ns), "x").source
    assert "No deadlock." in dot


def test_the_text_of_the_graph_names_deadlock_holders_and_queue(deadlock: Path) -> None:
    trace = reader.open(deadlock)
    lines = "\n".join(text.waits_lines(trace.graph(trace.end_ns)))
    assert lines.startswith("✖ Deadlock: alice and bob")
    assert re.search(r"● held by #\d+ alice", lines)
    assert re.search(r"✖ #\d+ bob waits", lines)


def test_the_tree_shows_who_spawned_whom(deadlock: Path) -> None:
    trace = reader.open(deadlock)
    lines = text.tree_lines(trace.at(trace.end_ns))
    assert lines[0].endswith("main: running")
    assert any(line.startswith(("├─", "└─")) and "alice" in line for line in lines)


SIXTY = """
import gevent
from gevent.lock import Semaphore
from gevent.queue import Queue
def waits(left, right):
    with left:
        gevent.sleep(0.01)
        with right: pass
def hoards(lock):
    with lock: gevent.sleep(60)
locks = [Semaphore(1) for _ in range(30)]
threads = [gevent.spawn(waits, locks[i], locks[(i + 1) % 30]) for i in range(30)]
gevent.sleep(0.05)
more = [Semaphore(1) for _ in range(5)]
threads += [gevent.spawn(hoards, more[i % 5]) for i in range(20)]
threads += [gevent.spawn(Queue().get) for _ in range(10)]
gevent.sleep(0.05)
"""


def test_sixty_greenlets_fit_on_a_page_in_every_renderer(record: Callable[..., Path], tmp_path: Path) -> None:
    program = tmp_path / "sixty.py"
    program.write_text(SIXTY)
    trace = reader.open(record(str(program)))
    drawn = wait_graph.draw(trace.graph(trace.end_ns), "x")
    # A ring of thirty in five columns, joined by circles at both ends.
    assert drawn.source.count("shape=circle") == 10
    assert "5 TIMES, the first of them:" in drawn.source
    assert "3 GREENLETS" in drawn.source
    assert drawn.source.count("queue #") == 1
    assert "and 9 more like it" in drawn.source
    for using in ("system", "pure") if render.renderer() == "system" else ("pure",):
        svg = render.render(drawn, "svg", using).decode()  # type: ignore[arg-type]
        size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg)
        assert size is not None
        assert max(map(float, size.groups())) < 3000
