"""The Python recorder's world: what another thread does between two lines of it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from greentrace.record.twin_world import World


class LetGo(dict[int, Any]):
    """A table that another thread empties as soon as somebody has looked into it."""

    def get(self, key: int, default: Any = None) -> Any:
        found = super().get(key, default)
        self.clear()
        return found


def test_a_resource_that_goes_while_another_thread_lets_go_of_everything_says_nothing() -> None:
    later: list[Callable[[], None]] = []
    resource = SimpleNamespace(key=7, aliases={})
    world = World.__new__(World)
    vars(world).update(_by_object=LetGo({7: resource}), _died=later.append, _is_finalizing=lambda: False)
    world._gone_resource(resource)  # type: ignore[arg-type]
    assert world._by_object == {}
    assert len(later) == 1
