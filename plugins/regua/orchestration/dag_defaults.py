"""What every DAG here has in common: owner, tags, retries, who is told of a failure."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any

from regua.instants import LOCAL
from regua.orchestration.alerts import FailureAlert

LOCAL_TIMEZONE = LOCAL.key
WAREHOUSE_POOL = "warehouse"


class Tag(StrEnum):
    """The only tags a DAG may carry."""

    NIGHTLY = "nightly"
    WAREHOUSE = "warehouse"
    DISPATCH = "dispatch"
    SUSPENSION = "suspension"


def default_args() -> dict[str, Any]:
    """Task defaults. A retry is for a busy warehouse only: whatever else fails would fail again the same way."""
    return {
        "owner": "data-engineering",
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(minutes=60),
        "on_failure_callback": [FailureAlert()],
    }
