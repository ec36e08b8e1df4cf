"""Keys: the one table of what can be done.

In:  nothing. Out: rows; the app binds them, the guide lists them, the bar at the bottom hints at them, the palette names them.
"""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """`keys` as Textual names them, `action` of the app, `shown` how a person reads the keys, `hint` a word for the bar ("" for none)."""

    keys: str
    action: str
    shown: str
    sentence: str
    hint: str = ""


class Shelf(NamedTuple):
    """Keys that belong together."""

    title: str
    keys: tuple[Key, ...]


class ScreenKey(NamedTuple):
    """A screen: its key, its name, a name for narrow terminals, what it shows."""

    key: str
    name: str
    short: str
    sentence: str


SCREENS: tuple[ScreenKey, ...] = (
    ScreenKey("1", "timeline", "lanes", "who was in which state when"),
    ScreenKey("2", "greenlets", "list", "who lives at the cursor, and what each does"),
    ScreenKey("3", "detail", "detail", "the current greenlet: stack, waits, holdings, history"),
    ScreenKey("4", "waits", "waits", "the wait-for graph at the cursor"),
    ScreenKey("5", "fds", "fds", "what the hubs listen to, and who waits there"),
    ScreenKey("6", "timers", "timers", "what the hubs are to do next"),
    ScreenKey("7", "findings", "found", "what the lints found"),
    ScreenKey("8", "statistics", "stats", "where the time went: by function, by resource, by site, by length"),
    ScreenKey("9", "log", "log", "the events, one by one"),
    ScreenKey(
        "o", "resources", "objects", "locks, queues and the like; what the current greenlet waits for, and everyone who contends for it"
    ),
)

SHELVES: tuple[Shelf, ...] = (
    Shelf(
        "screens",
        tuple(Key(s.key, "object" if s.key == "o" else f"show('{s.name}')", s.key, f"{s.name}: {s.sentence}") for s in SCREENS),
    ),
    Shelf(
        "the cursor",
        (
            Key("left,h", "step(-1)", "← h", "one cell back", "←→ cursor"),
            Key("right,l", "step(1)", "→ l", "one cell on"),
            Key("shift+left,H", "step(-10)", "⇧← H", "ten cells back"),
            Key("shift+right,L", "step(10)", "⇧→ L", "ten cells on"),
            Key("comma", "event(-1)", ",", "the event before this one that names the current greenlet", ",. event"),
            Key("full_stop", "event(1)", ".", "the event after this one that names the current greenlet"),
            Key("less_than_sign", "any(-1)", "<", "the event before, whosever it is"),
            Key("greater_than_sign", "any(1)", ">", "the event after, whosever it is"),
            Key("left_square_bracket", "change(-1)", "[", "the current greenlet's change of state before this moment"),
            Key("right_square_bracket", "change(1)", "]", "the current greenlet's change of state after this moment"),
            Key("colon", "ask('go')", ":", "go to a moment: 1.25, #46 (an event), deadlock, end, a date and time", ": go to"),
        ),
    ),
    Shelf(
        "time goes by",
        (
            Key("space", "play", "Space", "play, or stop: the cursor runs through the window in ten seconds", "␣ play"),
            Key("P", "play_events", "P", "play event by event"),
            Key("right_curly_bracket", "speed(2.0)", "}", "twice as fast"),
            Key("left_curly_bracket", "speed(0.5)", "{", "half as fast"),
            Key("backspace", "reverse", "⌫", "the other way round"),
            Key("m", "mark", "m", "set a mark, or take it away; the time from the last one stands above", "m mark"),
            Key("apostrophe", "to_mark", "'", "to the next mark"),
        ),
    ),
    Shelf(
        "the window",
        (
            Key("w,plus,equals_sign", "zoom(0.5)", "w +", "closer, around the cursor", "ws zoom"),
            Key("s,minus", "zoom(2.0)", "s -", "farther away"),
            Key("a", "pan(-0.25)", "a", "a quarter to the left", "ad pan"),
            Key("d", "pan(0.25)", "d", "a quarter to the right"),
            Key("0,home", "fit", "0 Home", "the whole trace"),
            Key("end", "end", "End", "to the end; of a live trace: stay there"),
            Key("f", "follow", "f", "live: follow the end, or stand still while the program runs on"),
        ),
    ),
    Shelf(
        "greenlets",
        (
            Key("up,k", "move(-1)", "↑ k", "one row up"),
            Key("down,j", "move(1)", "↓ j", "one row down"),
            Key("pageup", "move(-20)", "PgUp", "twenty rows up"),
            Key("pagedown", "move(20)", "PgDn", "twenty rows down"),
            Key(
                "enter",
                "enter",
                "Enter",
                "go to who holds what it waits for; to a finding's evidence, to whom a row counts",
                "⏎ holder",
            ),
            Key("b", "waker", "b", "go to who woke it last", "b waker"),
            Key("B", "woken", "B", "go to whom it wakes next"),
            Key(
                "v",
                "arrows",
                "v",
                "show who woke it, and whom it woke, around the cursor: ● woke ▼ or ▲; ◆ was woken by none of the lanes",
            ),
            Key("c", "closing", "c", "go to the moment at which the next deadlock closed", "c deadlock"),
            Key("n", "hit(1)", "n", "the next finding; after a search, the next hit"),
            Key("N", "hit(-1)", "N", "the finding or the hit before"),
            Key("slash", "ask('search')", "/", "search by name, function or place; in the log, by greenlet or kind of event", "/ search"),
            Key(
                "F", "ask('filter')", "F", "show only some: state:parked since>1s, func:handle_*, waits:lock,queue; an empty line shows all"
            ),
            Key("r", "sort", "r", "the list in another order"),
            Key("g", "group", "g", "the list as a list, by function, or as a tree of who made whom; the statistics by another thing"),
            Key("x", "everybody", "x", "show those too who do not live in the window or at the cursor"),
        ),
    ),
    Shelf(
        "the rest",
        (
            Key("u,ctrl+z", "undo", "u", "back to where you were", "u back"),
            Key("U,ctrl+y", "redo", "U", "and there again"),
            Key("escape", "stop", "Esc", "stop what takes long: the search for trouble, the counting"),
            Key("E", "export('.svg')", "E", "write what is shown as a picture (SVG); on the screen of the waits, the graph"),
            Key("e", "export('.txt')", "e", "write what is shown as text"),
            Key("y", "copy", "y", "copy the stack of the current greenlet to the terminal's clipboard"),
            Key("question_mark", "guide", "?", "this page", "? help"),
            Key("q,ctrl+q", "quit", "q", "leave; the traced program does not notice", "q quit"),
        ),
    ),
)
