"""What several modules of these tests begin with."""

from __future__ import annotations

from typing import Any

import pytest

from zoneraster._stats.request import StatsTask
from zoneraster._stats.task import run_task as run_one


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[StatsTask]:
    """Tasks that were run with a checkpoint, in this process."""
    tasks: list[StatsTask] = []

    def record(task: StatsTask) -> Any:
        tasks.append(task)
        return run_one(task)

    monkeypatch.setattr("zoneraster._stats.checkpoint.run_task", record)
    return tasks
