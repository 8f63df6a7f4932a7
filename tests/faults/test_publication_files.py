"""Promise 6: files of a publication are the old ones or the new ones, whole, whatever kills, fills or interrupts.

Every call that changes something on the disk is a point at which a real process dies by SIGKILL.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import PROJECT_DIR
from tests.faults.publication_process import INPUT_ERROR, names_of, publication_of
from tests.faults.test_full_disk import mount
from tests.integration.suspension.stores import sftp_server
from tests.unit.suspension.publications import BUREAU, ENTRIES, placed

from regua.errors import BusyError, InputError
from regua.suspension.artefacts import place, stage, verify
from regua.suspension.targets import open_target

pytestmark = pytest.mark.timeout(180)

KILLED = [-signal.SIGKILL]
OLD, NEW = names_of(1), names_of(2)
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.publication_process"],
        cwd=PROJECT_DIR,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{PROJECT_DIR / 'plugins'}:{PROJECT_DIR}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def step(do: str, **facts: Any) -> dict[str, Any]:
        process.stdin.write(json.dumps({"do": do, "edition": 2, **facts}, default=str) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    yield step
    process.stdin.close()
    assert process.wait(30) == 0


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """With the first publication of the day; a second one comes."""
    folder = tmp_path / "archive"
    placed(folder)
    return folder


@pytest.fixture
def wanted(tmp_path: Path) -> dict[str, bytes]:
    """The second publication as it is when nothing happens."""
    stage(tmp_path / "undisturbed", publication_of(2), ENTRIES, BUREAU)
    return files_in(tmp_path / "undisturbed")


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."}


def assert_old_or_new(folder: Path, old: dict[str, bytes], wanted: dict[str, bytes]) -> None:
    """The old files are as they were; of the new ones each is whole, and all are there where their manifest is."""
    found = files_in(folder)
    assert {name: found.get(name) for name in old} == old
    new = {name: content for name, content in found.items() if name not in old}
    assert new == {name: wanted[name] for name in new}
    if NEW[-1] in found:
        assert set(new) == set(NEW)
        verify(folder, NEW[-1])


def points(run: Run, do: str, **facts: Any) -> range:
    done = run(do, **facts)
    assert done["ends"] == [0]
    assert len(done["calls"]) > 10, "next to nothing was called: the points of death are not seen"
    return range(1, len(done["calls"]) + 1)


def test_killed_anywhere_while_staging_nothing_is_published_and_the_next_gives_the_same(run, archive, tmp_path, wanted):
    old = files_in(archive)
    for kill in points(run, "stage", staged=archive / ".staged-0"):
        staged = archive / f".staged-{kill}"
        assert run("stage", staged=staged, kill=kill)["ends"] == KILLED
        assert files_in(archive) == old
        if staged.exists():
            found = files_in(staged)
            assert found == {name: wanted[name] for name in found}
            if NEW[-1] in found:
                verify(staged, NEW[-1])
            elif kill % 4 == 0:
                # Nobody does, because nobody has recorded it; and nothing would come of it.
                with pytest.raises(InputError, match="lies neither in"):
                    place(staged, archive, NEW)
                assert files_in(archive) == old
        assert run("stage", staged=archive / f".staged-again-{kill}")["ends"] == [0]
        assert files_in(archive / f".staged-again-{kill}") == wanted


def test_killed_anywhere_while_placing_it_is_old_or_new_and_the_next_ends_it(run, archive, tmp_path, wanted):
    old = files_in(archive)
    shutil.copytree(archive, tmp_path / "first")
    stage(tmp_path / "first" / ".staged", publication_of(2), ENTRIES, BUREAU)
    manifest_seen = 0
    for kill in points(run, "place", staged=tmp_path / "first" / ".staged", folder=tmp_path / "first"):
        folder = tmp_path / f"killed-{kill}"
        shutil.copytree(archive, folder)
        stage(folder / ".staged", publication_of(2), ENTRIES, BUREAU)
        assert run("place", staged=folder / ".staged", folder=folder, kill=kill)["ends"] == KILLED
        assert_old_or_new(folder, old, wanted)
        manifest_seen += NEW[-1] in files_in(folder)
        for _ in range(2):
            assert run("place", staged=folder / ".staged", folder=folder)["ends"] == [0]
            assert files_in(folder) == old | wanted
        assert list((folder / ".staged").iterdir()) == []
    assert manifest_seen >= 2, "no death came after the manifest: the last points were not reached"


def test_killed_again_and_again_while_placing_it_comes_to_its_end(run, archive, tmp_path, wanted):
    old = files_in(archive)
    moments = random.Random(6)  # noqa: S311
    for number in range(15):
        folder = tmp_path / f"often-{number}"
        shutil.copytree(archive, folder)
        stage(folder / ".staged", publication_of(2), ENTRIES, BUREAU)
        for _ in range(30):
            ended = run("place", staged=folder / ".staged", folder=folder, kill=moments.randint(1, 9))["ends"]
            assert_old_or_new(folder, old, wanted)
            if ended == [0]:
                break
            assert ended == KILLED
        assert run("place", staged=folder / ".staged", folder=folder)["ends"] == [0]
        assert files_in(folder) == old | wanted


def test_several_placers_at_once_all_succeed(run, archive, tmp_path, wanted):
    old = files_in(archive)
    for number in range(40):
        folder = tmp_path / f"round-{number}"
        shutil.copytree(archive, folder)
        stage(folder / ".staged", publication_of(2), ENTRIES, BUREAU)
        assert run("place", staged=folder / ".staged", folder=folder, at_once=4)["ends"] == [0] * 4
        assert files_in(folder) == old | wanted


def test_of_two_that_differ_no_manifest_is_seen_beside_the_other_s_files(run, archive, tmp_path):
    """The ledger lets nobody come so far; if somebody did, readers would keep the old list."""
    outcomes = set()
    for number in range(12):
        folder = tmp_path / f"round-{number}"
        shutil.copytree(archive, folder)
        run("stage", staged=folder / ".staged-a")
        run("stage", staged=folder / ".staged-b", entries=3)
        first = run("place", staged=folder / ".staged-a", folder=folder, kill=number + 1)["ends"][0]
        second = run("place", staged=folder / ".staged-b", folder=folder)["ends"][0]
        outcomes.add((first, second))
        if (folder / NEW[-1]).exists():
            verify(folder, NEW[-1])
    assert (KILLED[0], INPUT_ERROR) in outcomes
    assert {second for _, second in outcomes} <= {0, INPUT_ERROR}


def test_killed_anywhere_while_copying_the_target_is_old_or_new(run, archive, tmp_path, wanted):
    (tmp_path / "archive" / ".staged").mkdir()
    stage(archive / ".staged-2", publication_of(2), ENTRIES, BUREAU)
    place(archive / ".staged-2", archive, NEW)
    old = {name: content for name, content in files_in(archive).items() if name in OLD}
    first = tmp_path / "target"
    first.mkdir()
    open_target(str(first), {}).deliver(archive, OLD)
    for kill in points(run, "deliver", folder=archive, target=shutil.copytree(first, tmp_path / "counted")):
        target = Path(shutil.copytree(first, tmp_path / f"target-{kill}"))
        ended = run("deliver", folder=archive, target=target, kill=kill)["ends"]
        # The last calls take away what a kill would have left, and find nothing.
        assert ended == KILLED
        assert_old_or_new(target, old, wanted)
        assert run("deliver", folder=archive, target=target)["ends"] == [0]
        assert files_in(target) == old | wanted
        assert [path.name for path in target.iterdir() if path.name.startswith(".")] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk))
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_publishes_nothing_and_the_next_gives_the_same(small_disk, wanted):
    placed(small_disk)
    old = files_in(small_disk)
    (small_disk / "filled").write_bytes(b"x" * 24 * 1024)
    with pytest.raises(BusyError, match="No space left on device"):
        stage(small_disk / ".staged", publication_of(2), ENTRIES, BUREAU)
    assert NEW[-1] not in files_in(small_disk / ".staged")
    (small_disk / "filled").unlink()
    assert {name: (small_disk / name).read_bytes() for name in old} == old
    shutil.rmtree(small_disk / ".staged")
    manifest = stage(small_disk / ".staged", publication_of(2), ENTRIES, BUREAU)
    place(small_disk / ".staged", small_disk, manifest.names)
    assert files_in(small_disk) == old | wanted


def test_a_disk_that_has_no_room_for_a_name_is_ended_later(small_disk, wanted):
    placed(small_disk)
    old = files_in(small_disk)
    stage(small_disk / ".staged", publication_of(2), ENTRIES, BUREAU)
    used = sum(1 for _ in small_disk.rglob("*")) + 1
    # A name more takes one of these, and gives it back when the first name goes: of seven none can be moved.
    mount("-o", f"remount,nr_inodes={used}", str(small_disk))
    with pytest.raises(BusyError, match="What is missing is placed later"):
        place(small_disk / ".staged", small_disk, NEW)
    assert_old_or_new(small_disk, old, wanted)
    mount("-o", f"remount,nr_inodes={used + 1}", str(small_disk))
    place(small_disk / ".staged", small_disk, NEW)
    assert files_in(small_disk) == old | wanted


def test_a_target_that_is_full_keeps_its_lists_and_gets_the_new_one_later(small_disk, archive, wanted):
    open_target(str(small_disk), {}).deliver(archive, OLD)
    old = files_in(small_disk)
    stage(archive / ".staged", publication_of(2), ENTRIES, BUREAU)
    place(archive / ".staged", archive, NEW)
    filling = small_disk / ".filled"
    filling.write_bytes(b"x" * 24 * 1024)
    with pytest.raises(BusyError, match="No space left on device"):
        open_target(str(small_disk), {}).deliver(archive, NEW)
    assert_old_or_new(small_disk, old, wanted)
    assert NEW[-1] not in files_in(small_disk)
    filling.unlink()
    open_target(str(small_disk), {}).deliver(archive, NEW)
    assert files_in(small_disk) == old | wanted
    assert [path.name for path in small_disk.iterdir() if path.name.startswith(".")] == []


def test_a_server_that_goes_away_at_any_file_gets_the_rest_later(archive, tmp_path):
    with sftp_server(tmp_path / "sftp") as server:
        there = server.root / "lists"
        manifests = []
        for cut in range(1, len(OLD) + 1):
            for path in there.iterdir():
                path.unlink()
            server.renames_left = cut - 1
            with pytest.raises(BusyError, match="cannot be reached, or refuses"):
                open_target(server.url(), server.environ).deliver(archive, OLD)
            found = files_in(there)
            assert found == {name: (archive / name).read_bytes() for name in OLD[: cut - 1]}
            manifests.append(OLD[-1] in found)
            server.renames_left = None
            open_target(server.url(), server.environ).deliver(archive, OLD)
            assert {path.name: path.read_bytes() for path in there.iterdir()} == files_in(archive)
        assert manifests == [False] * len(OLD)
