"""A file written whole is the old one or the new one, whatever happens meanwhile."""

from __future__ import annotations

import os

import pytest

from regua.durable_file import move_new, write_whole


def test_a_file_and_its_folders_are_made_and_replaced(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_whole(path, "one é")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_before_the_rename_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "b.json"
    write_whole(path, "old")

    def fails(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text() == "old"


def test_the_content_is_synced_before_it_is_renamed_and_the_folder_after(tmp_path, monkeypatch):
    steps = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (steps.append(name), real(*a))[1])
    write_whole(tmp_path / "b.json", "x")
    assert steps == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_moved_to_a_new_name_replaces_nothing(tmp_path, monkeypatch, has_links):
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    source, path = tmp_path / "source", tmp_path / "path"
    source.write_text("first")
    move_new(source, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["path"]
    source.write_text("second")
    with pytest.raises(FileExistsError):
        move_new(source, path)
    assert (source.read_text(), path.read_text()) == ("second", "first")


def test_a_file_can_be_written_for_its_owner_alone(tmp_path):
    write_whole(tmp_path / "list.xlsx", b"", mode=0o600)
    assert (tmp_path / "list.xlsx").stat().st_mode & 0o777 == 0o600
