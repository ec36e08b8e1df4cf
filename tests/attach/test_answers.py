"""Answers: the directory is the target's user's alone, and nothing that somebody else plants is followed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from greentrace.attach.answers import Answers, _descend
from greentrace.attach.target import Target, examine
from greentrace.errors import CannotAttach
from tests.attach.programs import Program


@pytest.fixture
def target(start: Callable[..., Program]) -> Target:
    return examine(start("ready(); os.read(0, 1)").pid)


def test_the_directory_is_private_and_gone_afterwards(target: Target) -> None:
    with Answers(target) as answers:
        path = Path(answers.inside)
        status = path.lstat()
        assert stat.S_ISDIR(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o700
        assert status.st_uid == target.user
        entry = Path(answers.leave("pass"))
        assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_the_directory_belongs_to_the_user_of_the_target(target: Target) -> None:
    with Answers(replace(target, user=65534, group=65534)) as answers:
        assert Path(answers.inside).stat().st_uid == 65534


def test_the_code_runs_once_whoever_runs_it(target: Target) -> None:
    with Answers(target) as answers:
        text = answers.wrap("answer = {'pid': 7, 'text': 'ä\\n'}")
        assert not answers.has_begun()
        assert not answers.is_there()
        exec(text, {})
        assert answers.has_begun()
        assert answers.is_there()
        exec(answers.wrap("answer = 2"), {})
        assert answers.answer() == {"pid": 7, "text": "ä\n"}
        assert stat.S_IMODE((Path(answers.inside) / "answer").stat().st_mode) == 0o600


def test_code_that_was_withdrawn_does_not_run(target: Target) -> None:
    with Answers(target) as answers:
        assert not answers.withdraw()
        exec(answers.wrap("answer = 1"), {})
        assert not answers.is_there()
        assert answers.withdraw()


def test_an_exception_of_the_code_is_the_answer_and_does_not_get_out(target: Target) -> None:
    with Answers(target) as answers:
        exec(answers.wrap("raise SystemExit('enough')"), {})
        with pytest.raises(CannotAttach, match="SystemExit: enough"):
            answers.answer()
    with Answers(target) as answers:
        exec(answers.wrap("answer = object()"), {})
        with pytest.raises(CannotAttach, match="cannot be written down"):
            answers.answer()


@pytest.mark.parametrize("plant", ["link", "fifo", "directory", "hard link", "nonsense", "deep", "nothing"])
def test_a_planted_answer_is_no_answer(target: Target, plant: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"answer": "a secret"}))
    with Answers(target) as answers:
        path = Path(answers.inside) / "answer"
        if plant == "link":
            path.symlink_to(secret)
        elif plant == "fifo":
            os.mkfifo(path)
        elif plant == "directory":
            path.mkdir()
        elif plant == "hard link":
            try:
                path.hardlink_to(secret)
            except OSError:
                other = Path(answers.inside) / "other"
                other.write_text(secret.read_text())
                path.hardlink_to(other)
        elif plant == "nonsense":
            path.write_bytes(b"\xff{")
        elif plant == "deep":
            path.write_bytes(b"[" * 1_000_000)
        with pytest.raises(CannotAttach, match="no proper answer"):
            answers.answer()
        for left in Path(answers.inside).iterdir():
            left.rmdir() if left.is_dir() and not left.is_symlink() else left.unlink()


def test_a_link_on_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "tmp").symlink_to(tmp_path / "real")
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert _descend(root, "tmp") is None
        (tmp_path / "var").mkdir()
        (tmp_path / "var" / "tmp").symlink_to("/tmp")
        assert _descend(root, "var/tmp") is None
        below = _descend(root, "real")
        assert below is not None
        os.close(below)
    finally:
        os.close(root)


def test_a_directory_that_others_may_rearrange_is_not_used(target: Target, tmp_path: Path) -> None:
    with Answers(target) as answers:
        for mode, serves in ((0o777, False), (0o1777, True), (0o770, False), (0o755, True)):
            tmp_path.chmod(mode)
            assert answers._may_hold(tmp_path.stat()) is serves, oct(mode)
