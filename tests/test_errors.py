"""Errors: three parts each, all in one tree, and the tree is the one that is drawn at the top of the file."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import greentrace
from greentrace import errors
from greentrace.errors import GreentraceError

CLASSES = {name: value for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
SOURCES = [path for path in Path(next(iter(greentrace.__path__))).rglob("*.py")]


@pytest.mark.parametrize("name", CLASSES)
def test_an_error_keeps_its_three_parts_and_reads_as_one_message(name: str) -> None:
    error = CLASSES[name]("It broke.", "Nothing was lost.", "Mend it.")
    assert (error.happened, error.kept, error.advice) == ("It broke.", "Nothing was lost.", "Mend it.")
    assert str(error) == "It broke. Nothing was lost. Mend it."


def test_the_tree_in_the_docstring_is_the_one_of_the_classes() -> None:
    drawn: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"( {4}[│├└─ ]*)([A-Z]\w+) {2,}\S", line)
        if match:
            depth, name = len(match[1]) // 4, match[2]
            drawn[depth] = name
            parent = CLASSES[drawn[depth - 1]] if depth > 1 else Exception
            assert CLASSES[name].__base__ is parent, line
            assert name in CLASSES
    text = errors.__doc__ or ""
    assert all(re.search(rf"\b{name} ", text) for name in CLASSES)


def test_whatever_is_raised_on_purpose_has_three_whole_sentences() -> None:
    found = 0
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLASSES:
                found += 1
                where = f"{path.name}:{node.lineno}"
                assert len(node.args) == 3, where
                for part in node.args:
                    last = part.values[-1] if isinstance(part, ast.JoinedStr) and part.values else part
                    if isinstance(last, ast.Constant) and not (isinstance(part, ast.JoinedStr) and len(part.values) == 1):
                        assert str(last.value).rstrip().endswith((".", "?", ")", "app:app")), f"{where}: {last.value!r}"
    assert found > 40


def test_no_class_of_errors_for_users_is_made_elsewhere() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and path.name != "errors.py":
                bases = {ast.unparse(base) for base in node.bases}
                assert not bases & set(CLASSES), f"{path.name}:{node.lineno}"
    assert issubclass(errors.BadTrace, GreentraceError)
