"""Support: a hub whose time stands still until everybody waits, and observers that write down what they hear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greentrace.hub import GreenThread, Hub, sleep, spawn
from greentrace.hub.instrument import Instrument
from greentrace.hub.poller import Poller


class Stalled(KeyboardInterrupt):
    """Everybody waits, and nothing will ever happen. Thrown into the main greenlet."""


class FakeClock:
    """Seconds that pass only when the hub would sleep."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakePoller(Poller):
    """Asks the system for what is ready now, and lets the clock jump instead of sleeping."""

    def __init__(self, clock: FakeClock, name: str | None = None) -> None:
        super().__init__(name)
        self.clock = clock
        self.waits = 0

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        self.waits += 1
        found = super().wait(0)
        if found or seconds == 0:
            return found
        if seconds is None:
            raise Stalled
        self.clock.now += seconds
        return []


class FakeHub(Hub):
    """A hub on a fake clock; `elapsed` tells how far it went."""

    def __init__(self, name: str | None = None) -> None:
        self.fake_clock = FakeClock()
        self.fake_poller = FakePoller(self.fake_clock, name)
        super().__init__(self.fake_poller, self.fake_clock)

    @property
    def elapsed(self) -> float:
        return round(self.fake_clock.now - 1000.0, 6)


class Diary(Instrument):
    """Writes down every call as a line of words. What is numbered is called by the names that the test gives it."""

    def __init__(self, **names: Any) -> None:
        self.names = {id(thing): name for name, thing in names.items()}
        self.kept = list(names.values())
        self.lines: list[str] = []

    def call_it(self, name: str, thing: Any) -> Any:
        self.names[id(thing)] = name
        self.kept.append(thing)
        return thing

    def word(self, thing: Any) -> str:
        if isinstance(thing, (int, str, bool, type(None))):
            return str(thing)
        return self.names.get(id(thing), type(thing).__name__.lower())

    def about(self, *verbs: str) -> list[str]:
        """Return the lines that begin with one of these verbs."""
        return [line for line in self.lines if line.split()[0] in verbs]


def _writer(verb: str) -> Callable[..., None]:
    def write(self: Diary, *args: Any) -> None:
        self.lines.append(" ".join([verb, *map(self.word, args)]))

    return write


for _verb in [name for name in vars(Instrument) if not name.startswith("_")]:
    setattr(Diary, _verb, _writer(_verb))


def turns(count: int = 3) -> None:
    """Let everybody else run as far as they get without time passing."""
    for _ in range(count):
        sleep(0)


def started(function: Callable[..., Any], *args: Any, **kwargs: Any) -> GreenThread:
    """Spawn a green thread and let it run to its first wait."""
    thread = spawn(function, *args, **kwargs)
    turns(1)
    return thread
