"""Whole nights against each other, against readers, and against a file that must not pass."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest
from tests.conftest import PROJECT_DIR
from tests.faults.conftest import CANARY_WORDS, SECOND_DAY, Nights
from tests.faults.killed_night import settings_of
from tests.faults.test_killed_nights import served

from regua.errors import BusyError, InputError
from regua.instants import read_instant, utc_clock
from regua.nightly.stages import Night, run_night
from regua.publish import serving
from regua.publish.serving import current_generation, publish, read_serving_manifest
from regua.settings import Settings
from regua.warehouse.store import warehouse_lock, writing

pytestmark = pytest.mark.timeout(420)


def environment(home: Path) -> dict[str, str]:
    path = f"{PROJECT_DIR / 'plugins'}:{PROJECT_DIR}"
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": path,
        "REGUA_HOME": str(home),
        "REGUA_ENV": "test",
    }


def regua(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from regua.cli import main; main()", *arguments]
    return subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=120)


HOLDER = """
import sys, time
from tests.faults.killed_night import settings_of
from regua.instants import read_instant, utc_clock
from regua.warehouse.store import warehouse_lock, writing
settings = settings_of(sys.argv[1])
with warehouse_lock(settings, "the night 2026-06-30 (run first)", utc_clock), writing(settings):
    print("held", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "home")]
    process = subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


class TestTwoNights:
    def test_the_second_says_busy_and_by_whom(self, holder, tmp_path):
        home = tmp_path / "home"
        since = json.loads(settings_of(home).lock_path.read_text())["since"]
        for arguments in (["run", "--as-of", "2026-06-30"], ["night", "show"]):
            second = regua(home, *arguments)
            assert second.returncode == 75, second.stderr
            for told in ("the night 2026-06-30 (run first)", f"process {holder.pid} on ", f"since {since} UTC"):
                assert told in second.stderr
            assert "Traceback" not in second.stderr

    def test_a_killed_holders_lock_is_free(self, holder, tmp_path):
        settings = settings_of(tmp_path / "home")
        with pytest.raises(BusyError), warehouse_lock(settings, "second", utc_clock):
            pass
        holder.kill()
        holder.wait()
        with warehouse_lock(settings, "second", utc_clock), writing(settings) as warehouse:
            assert warehouse.execute("select count(*) from ops.batches").fetchall() == [(0,)]

    def test_an_unwritten_holder_is_still_a_holder(self, holder, tmp_path):
        settings = settings_of(tmp_path / "home")
        for text in ("", "{", "[]", "{}"):
            settings.lock_path.write_text(text)
            with (
                pytest.raises(BusyError, match="has not said who it is"),
                warehouse_lock(settings, "second", utc_clock),
            ):
                pass


def test_a_home_in_which_no_night_was_run_says_so(tmp_path):
    shown = regua(tmp_path / "home", "night", "show")
    assert (shown.returncode, "Traceback" in shown.stderr) == (1, False)
    assert "No night was ever run" in shown.stderr


READER = """
import os, sys, duckdb
path, count = sys.argv[1] + "/serving.duckdb", 0
print("reading", flush=True)
seen = {}
while not sys.stdin.closed:
    with duckdb.connect(path, read_only=True) as serving:
        days = serving.execute("select distinct as_of_date::varchar from fct_invoices").fetchall()
        rows = [serving.execute(f"select count(*) from {name}").fetchall()[0][0] for (name,) in serving.execute(
            "select table_name from information_schema.tables order by 1").fetchall()]
    assert len(days) == 1, days
    for _ in range(300):
        os.close(os.open(path, os.O_RDONLY))
    seen.setdefault(days[0][0], set()).add(tuple(rows))
    count += 1
    if count >= int(sys.argv[2]):
        break
import json
print(json.dumps({day: [list(rows) for rows in sorted(all_rows)] for day, all_rows in seen.items()}))
"""


def test_a_reader_hammering_through_swaps_sees_one_whole_night_each_time(nights: Nights, tmp_path):
    """BI opens `current` at any moment; the swap is one rename, so there is no moment without a night."""
    serving_dir = tmp_path / "serving"
    shutil.copytree(nights.undisturbed.serving_dir, serving_dir, symlinks=True)
    generations = sorted((serving_dir / "generations").iterdir())
    assert len(generations) == 2
    command = [sys.executable, "-c", READER, str(serving_dir / "current"), "150"]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"
    swaps = 0
    while reader.poll() is None:
        # Of the newest day, so that going back is not refused.
        assert serving._swap(serving_dir, generations[swaps % 2], date.max)
        swaps += 1
    output, errors = reader.communicate()
    assert reader.returncode == 0, errors
    seen = json.loads(output)
    assert swaps > 100
    expected = {}
    for generation in generations:
        manifest = read_serving_manifest(generation)
        expected[manifest["as_of"]] = [[manifest["tables"][table]["rows"] for table in sorted(manifest["tables"])]]
    assert seen == expected


def test_publishing_again_while_a_reader_looks_changes_nothing(nights: Nights, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(nights.undisturbed.home, home, symlinks=True)
    settings = settings_of(home)
    before = served(settings)
    manifest = read_serving_manifest(current_generation(settings))
    stop, faults = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                with duckdb.connect(str(current_generation(settings) / "serving.duckdb"), read_only=True) as reader:
                    assert reader.execute("select count(*) from fct_invoices").fetchall()[0][0] > 0
            except Exception as error:  # noqa: BLE001 - whatever a reader meets is a fault
                faults.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for _ in range(3):
            again = publish(settings, as_of=SECOND_DAY, known_at=read_instant(manifest["known_at"]))
            assert (again.is_new, again.is_current) == (False, True)
    finally:
        stop.set()
        thread.join()
    assert faults == []
    assert served(settings) == before


@pytest.mark.parametrize("damage", ["cut", "bad rows"])
def test_a_night_with_a_bad_file_changes_nothing_that_is_served(nights: Nights, tmp_path, damage):
    home = tmp_path / "home"
    shutil.copytree(nights.undisturbed.home, home, symlinks=True)
    settings = settings_of(home)
    before = served(settings)
    inbox = settings.inbox / "sample"
    path = inbox / f"invoices_{SECOND_DAY}.csv"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    else:
        path.write_bytes(path.read_bytes().replace(b"BOL", b"CHEQUE"))
        manifest = path.with_name(path.name + ".manifest.json")
        manifest.write_text(json.dumps({"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))
    night = Night(SECOND_DAY, None, "bad")
    with pytest.raises(InputError, match=f"invoices_{SECOND_DAY}\\.csv: "):
        run_night(settings, night, utc_clock)
    assert served(settings) == before
    with duckdb.connect(str(settings.warehouse_path), read_only=True) as warehouse:
        [(stage, state)] = warehouse.execute(
            "select stage, state from ops.stage_runs where run_id = 'bad' and state = 'failed'"
        ).fetchall()
    assert (stage, state) == ("land" if damage == "cut" else "load", "failed")


def searched(settings: Settings) -> list[Path]:
    """Every file of a home in which nobody's data may stand."""
    private = (settings.landing_dir, settings.warehouse_path.parent, settings.inbox)
    return [
        path
        for path in settings.home.rglob("*")
        if path.is_file() and not path.is_symlink() and not any(path.is_relative_to(folder) for folder in private)
    ]


def canaries_in(content: bytes) -> list[str]:
    texts = [content.decode(encoding, errors="ignore").casefold() for encoding in ("utf-8", "cp1252", "utf-16-le")]
    return [word for word in CANARY_WORDS if any(word in text for text in texts)]


class TestPersonalData:
    def test_the_canaries_are_there_to_be_found(self, nights: Nights):
        with duckdb.connect(str(nights.undisturbed.warehouse_path), read_only=True) as warehouse:
            names = warehouse.execute("select name from raw.customers where customer_id = 'CANARIO-1'").fetchall()
            records = warehouse.execute(
                "select record from quarantine.rejected_rows where key_text = 'CANARIO-2'"
            ).fetchall()
        assert canaries_in(str(names).encode())
        assert canaries_in(str(records).encode())

    @pytest.mark.parametrize("home", ["undisturbed", "killed_by_stage", "killed_at_random"])
    def test_no_file_outside_landing_and_warehouse_holds_them(self, nights: Nights, home):
        settings = getattr(nights, home)
        paths = searched(settings)
        kinds = {path.suffix for path in paths}
        assert {".html", ".json", ".parquet", ".duckdb", ".log", ".txt"} <= kinds, kinds
        found = {str(path): words for path in paths if (words := canaries_in(path.read_bytes()))}
        assert found == {}

    def test_no_served_value_is_one(self, nights: Nights):
        """Parquet and DuckDB pack their texts, so a search in their bytes alone would prove nothing."""
        generation = current_generation(nights.undisturbed)
        with duckdb.connect(str(generation / "serving.duckdb"), read_only=True) as reader:
            tables = [name for (name,) in reader.execute("select table_name from information_schema.tables").fetchall()]
            texts = [str(reader.execute(f"select * from {table}").fetchall()) for table in tables]
        texts += [
            str(duckdb.sql(f"from read_parquet('{path}')").fetchall()) for path in (generation / "parquet").iterdir()
        ]
        assert len(texts) >= 10
        assert "CANARIO-1" in "".join(texts)
        assert [canaries_in(text.encode()) for text in texts if canaries_in(text.encode())] == []

    def test_what_the_operator_sees_holds_none(self, nights: Nights):
        shown = (nights.undisturbed.home / "output.txt").read_text()
        assert "quarantined, and why" in shown
        assert f"customers_{SECOND_DAY}.csv" in shown
        assert canaries_in(shown.encode()) == []

    def test_nor_does_what_the_warehouse_tells_of_its_runs(self, nights: Nights):
        with duckdb.connect(str(nights.killed_by_stage.warehouse_path), read_only=True) as warehouse:
            for table in ("stage_runs", "model_runs", "gate_runs", "batches"):
                assert canaries_in(str(warehouse.execute(f"from ops.{table}").fetchall()).encode()) == []
