"""Compare: a runtime's own tests, bare and recorded, test by test.

In:  gevent or eventlet, a core, modules (all if none is named). Out: the tests that end differently, a summary; exit 1 when
there is a real difference. A test that differs is repeated with its module; one that has ended alike on both sides at least
once is flaky, and is named but not held against us.

    python -m tests.suites.compare gevent|eventlet [--core native|python] [--jobs N] [--directory DIR] [MODULES...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from .expected import excuse
from .running import NoSuite, Result, Suite, run, suite_of

_REPEATS = 3


@dataclass
class Difference:
    """A test and all the ways in which it ended on each side."""

    module: str
    test: str
    bare: list[str]
    recorded: list[str]
    text: str = ""

    @property
    def is_flaky(self) -> bool:
        return bool(set(self.bare) & set(self.recorded))

    def __str__(self) -> str:
        return f"{self.module} {self.test}: bare {', '.join(self.bare)}; recorded {', '.join(self.recorded)}"


@dataclass
class Comparison:
    """What came of a module: how many tests ran bare, and those that ended differently."""

    module: str
    tests: int = 0
    real: list[Difference] = field(default_factory=list)
    flaky: list[Difference] = field(default_factory=list)
    expected: list[Difference] = field(default_factory=list)


def _differing(bare: list[Result], recorded: list[Result]) -> set[str]:
    """Return the tests for which no run of one side agrees with a run of the other."""
    tests = {test for result in bare + recorded for test in result.outcomes}
    return {test for test in tests if not _ends(bare, test) & _ends(recorded, test)}


def _ends(results: list[Result], test: str) -> set[str]:
    return {result.outcomes.get(test, "not run") for result in results}


def compare(suite: Suite, module: str, core: str) -> Comparison:
    """Run a module on both sides, and again while they differ in what is not expected."""
    bare, recorded = [run(suite, module, None)], [run(suite, module, core)]
    once = _differing(bare, recorded)
    while len(bare) < _REPEATS and any(excuse(suite.name, module, test, core) is None for test in _differing(bare, recorded)):
        bare.append(run(suite, module, None))
        recorded.append(run(suite, module, core))
    result = Comparison(module, len(bare[0].outcomes) - 1)
    for test in sorted(once | _differing(bare, recorded)):
        sides = [[r.outcomes.get(test, "not run") for r in results] for results in (bare, recorded)]
        odd = next((r for r in recorded if r.outcomes.get(test, "not run") not in sides[0]), recorded[-1])
        difference = Difference(module, test, *sides, odd.text)
        if difference.is_flaky:
            result.flaky.append(difference)
        elif excuse(suite.name, module, test, core):
            result.expected.append(difference)
        else:
            result.real.append(difference)
    return result


def compare_all(suite: Suite, modules: list[str], core: str, jobs: int = 1, texts: Path | None = None) -> list[Comparison]:
    """Compare modules, `jobs` at a time, and print each as it is done. `texts` is where to keep what differing modules wrote."""

    def one(module: str) -> Comparison:
        result = compare(suite, module, core)
        print(f"{module}: {result.tests} tests, {len(result.real)} differ", flush=True)
        for word, differences in (("DIFFERS", result.real), ("flaky", result.flaky), ("expected", result.expected)):
            for difference in differences:
                print(f"  {word}: {difference}", flush=True)
        differing = result.real + result.flaky
        if texts is not None and differing:
            (texts / f"{suite.name}-{core}-{module.replace('/', '-')}.txt").write_text(differing[0].text)
        return result

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, modules))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A runtime's own tests, bare and recorded, test by test.")
    parser.add_argument("suite", choices=["gevent", "eventlet"])
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--core", choices=["native", "python"], default="native")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where to keep eventlet's tests, and what differing modules wrote")
    given = parser.parse_intermixed_args(arguments)
    with tempfile.TemporaryDirectory(prefix="suites-") as scratch:
        directory = given.directory or Path(scratch)
        directory.mkdir(exist_ok=True)
        try:
            suite = suite_of(given.suite, directory)
        except NoSuite as error:
            print(f"{error}. Nothing was run.", file=sys.stderr)
            return 2
        results = compare_all(suite, given.modules or suite.modules, given.core, given.jobs, given.directory)
    real = sum(len(result.real) for result in results)
    flaky = sum(len(result.flaky) for result in results)
    expected = sum(len(result.expected) for result in results)
    tests = sum(result.tests for result in results)
    print(f"{given.suite}, {given.core} core: {len(results)} modules, {tests} tests; {real} differ, {flaky} flaky, {expected} expected")
    return 1 if real else 0


if __name__ == "__main__":
    sys.exit(main())
