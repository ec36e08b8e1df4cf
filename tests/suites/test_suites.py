"""The runtimes' own tests end under the recorder as they do without it."""

from __future__ import annotations

import pytest

from tests.record.conftest import usable

from .compare import compare_all
from .expected import EXPECTED, excuse
from .running import MODULE, NoSuite, Suite, pytest_outcomes, suite_of, unittest_outcomes

QUICK = {
    "gevent": ["test__event", "test__queue", "test__lock", "test__greenletset", "test___monitor", "test__core_watcher", "test__local"],
    "eventlet": ["semaphore_test", "queue_test", "event_test", "isolated/hub_fork"],
}


@pytest.fixture(scope="session", params=sorted(QUICK))
def suite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    try:
        return suite_of(request.param, tmp_path_factory.mktemp("suites"))
    except NoSuite as error:
        pytest.skip(str(error))


def assert_nothing_differs(suite: Suite, modules: list[str], core: str, jobs: int) -> None:
    results = compare_all(suite, modules, core, jobs)
    assert not [str(difference) for result in results for difference in result.real]
    assert sum(result.tests for result in results) > 20, "the outcomes were not understood"


def test_a_selection_of_the_runtimes_own_tests_ends_as_without_the_recorder(suite: Suite) -> None:
    assert_nothing_differs(suite, QUICK[suite.name], usable("native"), jobs=3)


@pytest.mark.soak
@pytest.mark.parametrize("core", ["native", "python"])
def test_all_of_the_runtimes_own_tests_end_as_without_the_recorder(suite: Suite, core: str) -> None:
    assert_nothing_differs(suite, suite.modules, usable(core), jobs=2)


def test_outcomes_are_found_between_what_tests_write() -> None:
    text = (
        "test_a (__main__.One.test_a) ... ok\ntest_b (__main__.One.test_b)\nIts first line ... noise\nskipped 'why'\n"
        "test_c (__main__.Two.test_c) ... FAIL\ntest_d (__main__.Two.test_d) ... \n"
        "======\nFAIL: test_c (__main__.Two.test_c)\nok\nERROR: test_d (__main__.Two.test_d)\n"
    )
    assert unittest_outcomes(text) == {"One.test_a": "ok", "One.test_b": "skipped", "Two.test_c": "FAIL", "Two.test_d": "ERROR"}
    text = "tests/a_test.py::A::test_a PASSED  [ 50%]\ntests/a_test.py::A::test_b[x y] FAILED [100%]\n"
    assert pytest_outcomes(text) == {"A::test_a": "PASSED", "A::test_b[x y]": "FAILED"}


def test_only_the_tests_that_are_named_may_differ_and_with_them_their_module() -> None:
    for (name, module, test), why in EXPECTED.items():
        for core in ("native", "python"):
            assert bool(excuse(name, module, test, core)) == bool(excuse(name, module, MODULE, core)) == (core in why.cores)
            assert excuse(name, module, "another", core) is None
