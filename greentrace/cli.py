"""The command line: one function a command.

In:  words. Out: data on stdout, talk on stderr, and an exit code that is a promise: 0 fine, 1 findings, 2 bad input.
Each command imports what it needs when it runs, so that `--help` is quick. Never: a Python traceback for a user's mistake.
One room, because a command is its options and a few lines that fetch what does the work.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from greentrace import __version__
from greentrace.errors import BadInput, GreentraceError

if TYPE_CHECKING:
    from greentrace.replay.model import Finding
    from greentrace.replay.reader import Trace

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_NOTHING_RECORDED = (
    "Record it again. If no reason was given on stderr: it ended before it began,"
    " or Python was told not to look at PYTHONPATH (-E, -I, -S)."
)
_CUT_OFF = "It was cut off before its first event, or is damaged: greentrace info says what is left. Copy it again, or record it again."
_AT_HELP = "The moment: seconds from the start, an ISO time, #NUMBER of an event, `deadlock`, or `end`."


class _Commands(click.Group):
    """Commands in the order of a person's work, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Commands, context_settings=_CONTEXT, invoke_without_command=True)
@click.version_option(__version__, prog_name="greentrace")
@click.pass_context
def cli(context: click.Context) -> None:
    """Execution tracer and visual debugger for green threads: eventlet, gevent, plain greenlets.

    \b
    Record a program, then ask what happened:
        greentrace record -o app.gtrace app.py
        greentrace check app.gtrace
        greentrace replay app.gtrace
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command line; every mistake of the user's ends in one message of three parts and exit code 2."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        words = " ".join(error.format_message().split()).rstrip(".")
        name = context.command_path if context else "greentrace"
        _complain(f"{words}.", "Nothing was done.", f"{name} --help says more.")
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except GreentraceError as error:
        for note in getattr(error, "__notes__", ()):
            click.echo(note, err=True)
        _complain(error.happened, error.kept, error.advice)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read us has seen enough.
        _give_up_stdout()
        sys.exit(141)


def _complain(happened: str, kept: str, advice: str) -> None:
    click.echo(f"greentrace: {happened}\n  {kept}\n  {advice}", err=True)


def _give_up_stdout() -> None:
    """Let Python not complain of stdout once more while it shuts down."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _size(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """Parse `16M`."""
    from greentrace import ring

    text = value.strip().upper().removesuffix("B").removesuffix("I")
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
    try:
        size = int(float(text[:-1] if factor > 1 else text) * factor)
    except (ValueError, OverflowError):
        raise click.BadParameter("give a size such as 16M or 1G") from None
    if not ring.MIN_BYTES <= size <= ring.MAX_BYTES:
        raise click.BadParameter(f"give a size from {ring.MIN_BYTES >> 20}M to {ring.MAX_BYTES >> 30}G")
    return size


@contextmanager
def _opened(target: str, empty: bool = False) -> Iterator[Trace]:
    """Open a trace, a ring, or the ring of a PID, which is entered for as long as the block lasts if it does not record."""
    if not target.isdigit() or Path(target).exists():
        with _open(Path(target), empty) as trace:
            yield trace
        return
    from greentrace.attach import guest

    with guest.host(int(target)) as path, _open(path, empty) as trace:
        yield trace


def _open(path: Path, empty: bool = False, at_once: bool = False) -> Trace:
    """Open a trace, a ring, or a directory of rings. One without any event is refused, unless `empty` is of use too.

    `at_once` as `reader.open` takes it.
    """
    from greentrace.progress import Progress
    from greentrace.replay import reader

    if not path.exists():
        raise BadInput(f"There is no file {path}.", "Nothing was read.", "Give a .gtrace file, or the PID of a running program.")
    try:
        with Progress(f"reading {path.name}") as progress:
            trace = reader.open(path, progress, at_once)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}).", "It was not touched.", "Check its permissions.") from error
    if not trace.event_count and not empty:
        advice = _CUT_OFF if trace.damage else _NOTHING_RECORDED
        raise BadInput(f"{path} holds no event, so nothing can be said of the program.", "It was not touched.", advice)
    return trace


def _write(data: bytes, out: str | None) -> None:
    """Write to a file, or to stdout."""
    if out is None or out == "-":
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            _give_up_stdout()
            raise BadInput(
                f"stdout cannot be written ({error.strerror}).", "The trace was not touched.", "Send the output to another place."
            ) from error
        return
    try:
        Path(out).write_bytes(data)
    except OSError as error:
        raise BadInput(
            f"{out} cannot be written ({error.strerror}).", "The trace was not touched.", "Choose another place with -o."
        ) from error


def _say(lines: list[str]) -> None:
    _write(("\n".join(lines) + "\n").encode(sys.stdout.encoding or "utf-8", "replace"), None)


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-o", "--output", "out", type=click.Path(dir_okay=False), help="The trace to write.  [default: NAME-PID.gtrace]")
@click.option(
    "--ring",
    "ring_bytes",
    default="16M",
    show_default=True,
    callback=_size,
    metavar="SIZE",
    help="Memory for events that are not yet written; with --pid, more where many greenlets live already.",
)
@click.option("--depth", default=32, show_default=True, type=click.IntRange(1, 64), help="How many frames of each stack to keep.")
@click.option("--pid", type=int, help="Record a program that is running, until it ends or Ctrl-C.")
@click.option("--tree", is_flag=True, help="With --pid: every process that descends from it, too.")
@click.option("--flight", is_flag=True, help="A flight recorder: keep the ring alone, and save a trace when something happens.")
@click.option("--trigger", "triggers", multiple=True, metavar="TRIGGER", help="With --flight: what to save a trace for; all for all.")
@click.option("--snapshots", type=click.Path(file_okay=False), help="With --flight: where to.  [default: greentrace-snapshots]")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing at the end.")
@click.option("-m", "module", is_flag=True, help="The program is a module, as in python -m.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def record(
    out: str | None,
    ring_bytes: int,
    depth: int,
    pid: int | None,
    tree: bool,
    flight: bool,
    triggers: tuple[str, ...],
    snapshots: str | None,
    quiet: bool,
    module: bool,
    command: tuple[str, ...],
) -> None:
    """Run a program and record it: SCRIPT ARGS..., or -m MODULE ARGS...

    The program keeps its stdin, terminal, signals and exit code.
    """
    from greentrace import run

    if pid is not None:
        from greentrace.attach import guest

        guest.record(pid, Path(out or f"{pid}.gtrace"), guest.Options(ring_bytes, depth, tree), quiet)
        return
    if not command:
        raise click.UsageError("Give a script, or -m MODULE.")
    words = ["-m", *command] if module else list(command)
    argv = run.command_of(words)
    if flight:
        if out is not None:
            raise click.UsageError("With --flight there is no single trace: give --snapshots DIRECTORY in the place of -o.")
        run.end_like(run.fly(argv, ring_bytes, depth, triggers, snapshots).returncode)
    name = Path(command[0]).stem or "trace"
    path = Path(out or f"{name}-{os.getpid()}.gtrace")
    outcome = run.record(argv, path, ring_bytes, depth)
    if outcome.kept is not None:
        click.echo(
            f"greentrace: the newest events could not be saved; they are in {outcome.kept}. Next: greentrace check {outcome.kept}", err=True
        )
    elif not outcome.events:
        click.echo(f"greentrace: nothing was recorded.\n  {path} is empty.\n  {_NOTHING_RECORDED}", err=True)
    elif not quiet:
        lost = f", {outcome.lost:,} lost" if outcome.lost else ""
        many = f" of {outcome.processes} processes" if outcome.processes != 1 else ""
        click.echo(f"greentrace: {outcome.events:,} events{many}{lost} in {path}. Next: greentrace check {path}", err=True)
        if outcome.still_running:
            pids = ", ".join(map(str, outcome.still_running))
            click.echo(f"greentrace: still running and no longer saved: {pids}. Look at them with greentrace attach.", err=True)
    run.end_like(outcome.returncode)


@cli.command()
@click.option("--tree", is_flag=True, help="Every process that descends from it, too: a server and its workers.")
@click.option("--keep", is_flag=True, help="Let it go on recording afterwards. greentrace detach ends that.")
@click.argument("pid", type=int)
def attach(pid: int, tree: bool, keep: bool) -> None:
    """Open the TUI on a running program, live.

    One that does not record is entered, and left again at the end.
    """
    from greentrace.attach import guest
    from greentrace.replay import reader

    _needs_terminal()
    with guest.host(pid, guest.Options(tree=tree, keep=keep)) as source, reader.open(source) as trace:
        code = _tui(trace, live=True)
    sys.exit(code)


@cli.command()
@click.argument("pid", type=int)
@click.option("--tree", is_flag=True, help="Every process that descends from it, too.")
def detach(pid: int, tree: bool) -> None:
    """Have a running program record no more, and give everything back."""
    from greentrace import processes
    from greentrace.attach import visit

    recording = [each for each in (pid, *(processes.descendants(pid) if tree else ())) if processes.is_recording(each)]
    if not recording:
        raise BadInput(f"Process {pid} is not recording.", "It was not touched.", "greentrace ps lists what records.")
    for each in recording:
        left = visit.leave(each)
        words = f" These stay, with no effect: {', '.join(left)}." if left else ""
        click.echo(f"greentrace: process {each} records no more.{words}", err=True)


@cli.command()
@click.option("--web", is_flag=True, help="Serve the TUI to a browser on this machine. It has no login.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Where --web listens.")
@click.argument("file")
def replay(web: bool, port: int, file: str) -> None:
    """Open the TUI over a trace."""
    if web:
        _open(Path(file), at_once=True).close()
        from greentrace.tui import web as browser

        browser.serve(Path(file).resolve(), port, lambda line: click.echo(f"greentrace: {line}", err=True))
        return
    with _open(Path(file), at_once=True) as trace:
        _needs_terminal()
        code = _tui(trace, live=trace.live)
    sys.exit(code)


def _needs_terminal() -> None:
    # A browser is one too: Textual is told so by whoever serves it.
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and "TEXTUAL_DRIVER" not in os.environ:
        raise BadInput("The TUI needs a terminal.", "Nothing was shown.", "Use greentrace check or greentrace dump, which print text.")


def _tui(trace: Trace, live: bool) -> int:
    from greentrace.tui import app

    return app.run(trace, live=live)


def _moment(trace: Trace, at: str | None) -> int:
    return trace.end_ns if at is None else trace.parse_time(at)


@cli.command()
@click.argument("target", metavar="FILE|PID")
@click.option("--at", help=_AT_HELP)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON, for programs.")
def dump(target: str, at: str | None, as_json: bool) -> None:
    """Verdict first, then every greenlet: state, stack, wait, holdings."""
    from greentrace.export import documents, text

    with _opened(target) as trace:
        graph = trace.graph(_moment(trace, at))
        world = graph.world
        findings = _findings_at(trace, world.t_ns, at)
        if as_json:
            lines = [json.dumps(documents.dump(trace, world, graph, findings), indent=2)]
        else:
            lines = text.dump_lines(trace, world, graph, findings)
    _say(lines)


def _findings_at(trace: Trace, t_ns: int, at: str | None) -> list[Finding]:
    """Return the findings that had come by the moment asked for."""
    return [finding for finding in trace.findings() if at is None or finding.t_ns <= t_ns]


@cli.command()
@click.argument("target", metavar="FILE|PID")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON, for programs.")
@click.option("-W", "--warn", multiple=True, metavar="LINT", help="Look for this lint too, though it is off by default.")
@click.option("-A", "--allow", multiple=True, metavar="LINT", help="Do not look for this lint.")
def check(target: str, as_json: bool, warn: tuple[str, ...], allow: tuple[str, ...]) -> None:
    """Look for deadlocks and other findings; exit code 1 if any."""
    from greentrace.export import documents, text
    from greentrace.replay import lints

    unknown = [name for name in (*warn, *allow) if name not in lints.LINTS]
    if unknown:
        raise BadInput(f"There is no lint named {unknown[0]}.", "Nothing was checked.", f"The lints are: {', '.join(lints.LINTS)}.")
    with _opened(target) as trace:
        findings = trace.findings(allow=allow, warn=warn)
        lines = [json.dumps(documents.check(trace, findings), indent=2)] if as_json else text.check_lines(trace, findings)
    _say(lines)
    sys.exit(1 if documents.verdict(findings) != "ok" else 0)


_FORMATS = ("svg", "png", "pdf", "dot", "text", "json")


@cli.command()
@click.argument("target", metavar="FILE|PID")
@click.option("--as", "form", type=click.Choice(_FORMATS), required=True, help="The format.")
@click.option("--view", type=click.Choice(("waits", "timeline", "tree")), default="waits", show_default=True, help="What to draw.")
@click.option("--at", help=_AT_HELP)
@click.option("-o", "--output", "out", type=click.Path(dir_okay=False), help="Where to write it.  [default: stdout]")
def export(target: str, form: str, view: str, at: str | None, out: str | None) -> None:
    """Draw the wait-for graph, the time-line or the spawn tree."""
    from greentrace.export import views

    if form == "png" and out is None and sys.stdout.isatty():
        raise BadInput("A PNG on a terminal is no use.", "Nothing was written.", "Give a file with -o.")
    with _opened(target) as trace:
        t_ns = _moment(trace, at)
        data = views.exported(trace, view, form, t_ns, lambda: _findings_at(trace, t_ns, at))
    _write(data, out)


@cli.command()
@click.argument("target", metavar="FILE|PID")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON, for programs.")
def info(target: str, as_json: bool) -> None:
    """Say what is inside: processes, greenlets, events, span, gaps."""
    from greentrace.export import summary

    with _opened(target, empty=True) as trace:
        facts = summary.facts(trace)
    if as_json:
        _say([json.dumps(facts, indent=2)])
    else:
        _say(summary.lines(facts))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="The same as JSON, for programs.")
def ps(as_json: bool) -> None:
    """List Python processes: which are recording, which runtime."""
    from greentrace import processes

    rows = processes.rows()
    if as_json:
        keys = ("pid", "user", "command", "python", "runtimes", "attachable", "recording")
        _say([json.dumps([{key: getattr(row, key) for key in keys} for row in rows], indent=2)])
        return
    _say(processes.lines(rows))


@cli.command()
@click.argument("sample", default="deadlock_two_locks")
@click.option(
    "--runtime", type=click.Choice(("hub", "eventlet", "gevent")), default="hub", show_default=True, help="What the sample runs on."
)
@click.option(
    "-o",
    "--output",
    "folder",
    default="greentrace-demo",
    show_default=True,
    type=click.Path(file_okay=False),
    help="Where to put what it makes.",
)
def demo(sample: str, runtime: str, folder: str) -> None:
    """Record a bundled sample, say the verdict, draw it, open the TUI."""
    from greentrace import demonstration

    sys.exit(demonstration.show(sample, runtime, Path(folder), _tui))


@cli.command()
def doctor() -> None:
    """Say what works on this machine, and what to do about the rest."""
    from greentrace import diagnosis

    rows = diagnosis.examine()
    _say([f"{'✔' if row.good else '▲'} {row.what}: {row.found}" + (f"\n    {row.advice}" if row.advice else "") for row in rows])
    sys.exit(0 if all(row.good or not row.needed for row in rows) else 1)
