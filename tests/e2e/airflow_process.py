"""A whole Airflow for a test: `scripts/airflow-up` on a free port, talked to by its REST API as anybody would."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT_DIR

# Of a machine that has other things to do as well.
_STARTS_WITHIN_SECONDS = 240
_ENDS_WITHIN_SECONDS = 180
_OVER = {"success", "failed"}


class AirflowApi:
    """The REST API as the user admin."""

    def __init__(self, url: str, password: str, scheduler_log: Path) -> None:
        self.url = url
        self.scheduler_log = scheduler_log
        self.password = password
        self._token: str | None = None
        self._token = self.ask("POST", "/auth/token", {"username": "admin", "password": password})["access_token"]

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer as JSON. Raises HTTPError for one that is none of 2xx."""
        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)  # noqa: S310 - ours
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - ours
            return json.load(answer)

    def start(self, dag_id: str) -> Run:
        """Trigger a run of a DAG, as soon as the DAG is known."""
        until(lambda: self._is_known(dag_id), f"{dag_id} to be known")
        self.ask("PATCH", f"/api/v2/dags/{dag_id}?update_mask=is_paused", {"is_paused": False})
        run = self.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None})
        return Run(self, dag_id, run["dag_run_id"])

    def _is_known(self, dag_id: str) -> bool:
        try:
            self.ask("GET", f"/api/v2/dags/{dag_id}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return False
        return True


class Run:
    """One run of a DAG."""

    def __init__(self, api: AirflowApi, dag_id: str, run_id: str) -> None:
        self.api = api
        self.dag_id = dag_id
        self.run_id = run_id
        self.path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"

    def state(self) -> str:
        return str(self.api.ask("GET", self.path)["state"])

    def states(self) -> dict[str, str | None]:
        """State by task."""
        found = self.api.ask("GET", f"{self.path}/taskInstances")["task_instances"]
        return {task["task_id"]: task["state"] for task in found}

    def ends(self) -> str:
        """Wait for the end; the state the run ended in."""
        until(self._is_over, f"the end of {self.run_id}", lambda: str(self.states()))
        return self.state()

    def reaches(self, task_id: str, state: str) -> None:
        """Wait until a task is in a state. Raises AssertionError when the run ends before."""

        def is_there() -> bool:
            is_over = self._is_over()
            if self.states()[task_id] == state:
                return True
            assert not is_over, f"the run is over: {self.states()}\n{self.troubles()}"
            return False

        until(is_there, f"{task_id} to be {state}", lambda: str(self.states()))

    def waits(self, task_id: str, attempt: int = 1) -> None:
        """Wait until a task waits for a person, and the scheduler knows that its process has ended.

        Airflow 3.3.2 takes a task that is answered before that, within its second, for one that was killed.
        """
        self.reaches(task_id, "awaiting_input")
        seen = re.compile(
            rf"TaskInstance Finished: dag_id={self.dag_id}, task_id={task_id}, run_id={re.escape(self.run_id)},"
            rf".* state=awaiting_input, .*try_number={attempt},"
        )
        log = self.api.scheduler_log
        until(lambda: seen.search(log.read_text(encoding="utf-8")) is not None, f"the scheduler to let go of {task_id}")

    def _is_over(self) -> bool:
        """Raises AssertionError for a task that is to be tried again: no test waits for five minutes."""
        assert "up_for_retry" not in self.states().values(), self.troubles()
        return self.state() in _OVER

    def log(self, task_id: str, attempt: int = 1) -> str:
        found = self.api.ask("GET", f"{self.path}/taskInstances/{task_id}/logs/{attempt}?full_content=true")
        return json.dumps(found["content"], ensure_ascii=False)

    def troubles(self) -> str:
        """The end of the log of each task that failed."""
        failed = [task_id for task_id, state in self.states().items() if state in ("failed", "up_for_retry")]
        return "\n".join(f"{task_id}: {self.log(task_id)[-5000:]}" for task_id in failed)

    def question(self, task_id: str) -> dict[str, Any]:
        """What a person is asked, and what was answered."""
        found: dict[str, Any] = self.api.ask("GET", f"{self.path}/taskInstances/{task_id}/-1/hitlDetails")
        return found

    def answer(self, task_id: str, option: str) -> None:
        body = {"chosen_options": [option], "params_input": {}}
        self.api.ask("PATCH", f"{self.path}/taskInstances/{task_id}/-1/hitlDetails", body)

    def mark(self, task_id: str, state: str) -> None:
        """What *Mark as …* does in the interface."""
        self.api.ask("PATCH", f"{self.path}/taskInstances/{task_id}", {"new_state": state})

    def clear(self, task_ids: list[str]) -> None:
        """What *Clear* does in the interface."""
        body = {"dag_run_id": self.run_id, "task_ids": task_ids, "dry_run": False, "only_failed": False}
        self.api.ask("POST", f"/api/v2/dags/{self.dag_id}/clearTaskInstances", body)

    def abandon(self) -> None:
        """So that the next run of the DAG may begin, whatever became of this one."""
        if self.state() not in _OVER:
            self.api.ask("PATCH", self.path, {"state": "failed"})
            until(lambda: self.state() in _OVER, f"{self.run_id} to be given up")


@contextmanager
def starting_airflow(home: Path, environ: Mapping[str, str]) -> Iterator[Callable[[], AirflowApi]]:
    """An Airflow of its own below `home`; what is given waits until it is up. On leaving it is stopped, whole."""
    port = _free_port()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "REGUA_"))}
    own |= {**environ, "REGUA_HOME": str(home), "AIRFLOW__API__PORT": str(port)}
    home.mkdir(parents=True, exist_ok=True)
    output = home.parent / "airflow-up.log"
    with output.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            ["bash", "-c", ". scripts/airflow-env && airflow db migrate && exec scripts/airflow-up"],
            cwd=PROJECT_DIR, env=own, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def ready() -> AirflowApi:
        def is_ready() -> bool:
            assert process.poll() is None, f"Airflow did not come up:\n{output.read_text(encoding='utf-8')[-3000:]}"
            return "Airflow is ready" in output.read_text(encoding="utf-8")

        until(is_ready, "Airflow to be up", within=_STARTS_WITHIN_SECONDS)
        passwords = json.loads((home / "airflow" / "passwords.json").read_text(encoding="utf-8"))
        scheduler_log = home / "airflow" / "logs" / "components" / "scheduler.log"
        api = AirflowApi(f"http://localhost:{port}", passwords["admin"], scheduler_log)
        api.ask("POST", "/api/v2/pools", {"name": "warehouse", "slots": 1})
        return api

    try:
        yield ready
    finally:
        process.terminate()
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(
    is_so: Callable[[], bool],
    what: str,
    found: Callable[[], str] = lambda: "",
    within: float = _ENDS_WITHIN_SECONDS,
) -> None:
    """Look once a second until something is so. Raises AssertionError with what was found instead."""
    end = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < end, f"waited {within} seconds for {what}: {found()}"
        time.sleep(1)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
