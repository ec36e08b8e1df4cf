"""Errors: every exception that greentrace raises on purpose.

    GreentraceError            three parts: what happened, what was kept, what to do
    ├── BadInput               the user gave something that cannot be used (exit code 2)
    │   ├── BadTrace           a file that is no trace, or one of a newer version
    │   ├── BadRing            a ring that is none, or one of a newer version
    │   └── BadTime            a moment that cannot be understood or is outside the trace
    ├── CannotAttach           the process cannot be entered or followed (exit code 2)
    └── CannotRecord           recording could not begin, or had to end (exit code 2)

In: three sentences. Out: one message. Nothing here prints or exits; the command line does.
"""

from __future__ import annotations


class GreentraceError(Exception):
    """Something that a person has to know, in three parts.

    `happened` says what went wrong, `kept` what of their data is safe, `advice` what to do now.
    """

    def __init__(self, happened: str, kept: str, advice: str) -> None:
        super().__init__(happened, kept, advice)
        self.happened = happened
        self.kept = kept
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.happened} {self.kept} {self.advice}"


class BadInput(GreentraceError):
    """The user gave something that cannot be used."""


class BadTrace(BadInput):
    """A file that is no trace, is damaged beyond its header, or is of a newer version."""


class BadRing(BadInput):
    """A file that is no ring, or one of a newer version."""


class BadTime(BadInput):
    """A moment that cannot be understood, or that lies outside the trace."""


class CannotAttach(GreentraceError):
    """A process that cannot be entered or followed."""


class CannotRecord(GreentraceError):
    """Recording could not begin, or had to end."""
