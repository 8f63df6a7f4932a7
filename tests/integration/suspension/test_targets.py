"""Copies in a folder, on S3 and by SFTP: whole, the manifest last, nothing replaced; and no host that nobody knows."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import boto3
import pytest
from tests.integration.suspension.stores import PASSWORD, SftpServer, sftp_server
from tests.unit.suspension.publications import placed

from regua.errors import BusyError, InputError
from regua.suspension import targets
from regua.suspension.targets import open_target

pytestmark = pytest.mark.timeout(120)

BUCKET = "regua-lists"
S3_SECRET = "s3cr3t-canary"


@dataclass
class Place:
    """A store that is empty, how to deliver to it, and how to look into it past what is tested."""

    url: str
    environ: Mapping[str, str]
    files: Callable[[], dict[str, bytes]]
    put: Callable[[str, bytes], Any]

    def deliver(self, folder: Path, names: tuple[str, ...]) -> None:
        open_target(self.url, self.environ).deliver(folder, names)


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        yield server


def s3_environ(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": S3_SECRET,
        "AWS_REGION": "us-east-1",
    }


def folder_place(tmp_path: Path) -> Place:
    there = tmp_path / "there"
    there.mkdir()
    return Place(
        str(there),
        {},
        lambda: {path.name: path.read_bytes() for path in there.iterdir()},
        lambda name, content: (there / name).write_bytes(content),
    )


def s3_place(endpoint: str) -> Place:
    client: Any = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="x"
    )
    client.create_bucket(Bucket=BUCKET)
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])

    def files() -> dict[str, bytes]:
        keys = [found["Key"] for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
        assert all(key.startswith("ops/lists/") for key in keys)
        return {
            key.removeprefix("ops/lists/"): client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys
        }

    return Place(
        f"s3://{BUCKET}/ops/lists/",
        s3_environ(endpoint),
        files,
        lambda name, content: client.put_object(Bucket=BUCKET, Key=f"ops/lists/{name}", Body=content),
    )


def sftp_place(server: SftpServer) -> Place:
    there = server.root / "lists"
    for path in there.iterdir():
        path.unlink()
    server.requests.clear()
    return Place(
        server.url(),
        server.environ,
        lambda: {path.name: path.read_bytes() for path in there.iterdir()},
        lambda name, content: (there / name).write_bytes(content),
    )


@pytest.fixture(params=["folder", "s3", "sftp"])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return folder_place(tmp_path)
    if request.param == "s3":
        return s3_place(request.getfixturevalue("s3_endpoint"))
    return sftp_place(request.getfixturevalue("sftp"))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def names(archive: Path) -> tuple[str, ...]:
    return placed(archive).names


def archived(archive: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in archive.iterdir()}


def test_all_files_arrive_as_they_are_and_a_second_time_nothing_happens(there, archive, names):
    for _ in range(2):
        there.deliver(archive, names)
        assert there.files() == archived(archive)


def test_what_was_broken_off_is_ended(there, archive, names):
    for name in names[:3]:
        there.put(name, (archive / name).read_bytes())
    there.deliver(archive, names)
    assert there.files() == archived(archive)


def test_a_file_that_is_there_with_another_content_stays(there, archive, names):
    there.put(names[2], b"somebody else's")
    with pytest.raises(InputError, match="another content"):
        there.deliver(archive, names)
    assert there.files()[names[2]] == b"somebody else's"
    assert names[-1] not in there.files()


def test_without_its_manifest_there_is_no_publication(there, archive, names, monkeypatch):
    """Stopped before the last file, whichever order the names were given in."""
    real = targets.Target._bring

    def stops(self: targets.Target, store: Any, name: str, content: bytes) -> None:
        if name == names[-1]:
            raise BusyError("stopped")
        real(self, store, name, content)

    monkeypatch.setattr(targets.Target, "_bring", stops)
    with pytest.raises(BusyError, match="stopped"):
        there.deliver(archive, names[::-1])
    assert set(there.files()) == set(names[:-1])


def test_what_is_not_whole_here_goes_nowhere(there, archive, names):
    (archive / names[1]).write_bytes(b"bit rot")
    with pytest.raises(InputError, match=names[1]):
        there.deliver(archive, names)
    assert there.files() == {}


def test_names_that_are_not_the_publication_s_go_nowhere(there, archive, names):
    with pytest.raises(InputError, match="names other files"):
        there.deliver(archive, names[1:])
    assert there.files() == {}


def test_several_at_once_end_with_the_same_files(there, archive, names):
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(there.deliver, archive, names) for _ in range(4)]
        assert [future.result() for future in done] == [None] * 4
    assert there.files() == archived(archive)


def test_what_was_left_on_its_way_is_written_on_and_goes(tmp_path, archive, names):
    """A kill leaves half a file beside; one between two names leaves both."""
    there = folder_place(tmp_path)
    content = (archive / names[0]).read_bytes()
    beside = targets._beside(names[0], targets.hashlib.sha256(content).hexdigest())
    there.put(beside, content[:40])
    there.deliver(archive, names)
    assert there.files() == archived(archive)
    there.put(beside, content)
    there.deliver(archive, names)
    assert there.files() == archived(archive)


def test_by_sftp_it_is_written_beside_and_renamed(sftp, archive, names):
    there = sftp_place(sftp)
    there.put(targets._beside(names[0], targets.hashlib.sha256((archive / names[0]).read_bytes()).hexdigest()), b"half")
    there.deliver(archive, names)
    assert there.files() == archived(archive)
    assert [line for line in sftp.requests if line.startswith("rename")] == [f"rename /lists/{name}" for name in names]


@pytest.mark.parametrize("kind", ["folder", "sftp"])
def test_what_arrives_damaged_is_not_given_its_name(request, tmp_path, archive, names, kind, monkeypatch):
    there = folder_place(tmp_path) if kind == "folder" else sftp_place(request.getfixturevalue("sftp"))
    store = targets._Folder if kind == "folder" else targets._Sftp
    real = store._write
    monkeypatch.setattr(store, "_write", lambda self, name, content: real(self, name, content[:-1] + b"?"))
    with pytest.raises(BusyError, match="did not arrive as it was sent"):
        there.deliver(archive, names)
    assert there.files() == {}
    monkeypatch.setattr(store, "_write", real)
    there.deliver(archive, names)
    assert there.files() == archived(archive)


def test_s3_itself_refuses_to_replace(s3_endpoint, archive, names, monkeypatch):
    """Two at once: the other's object came after we looked."""
    there = s3_place(s3_endpoint)
    real, looked = targets._S3.digest, []

    def looks_too_early(self: Any, name: str) -> str | None:
        looked.append(name)
        if len(looked) == 1:
            there.put(name, b"somebody else's")
            return None
        return real(self, name)

    monkeypatch.setattr(targets._S3, "digest", looks_too_early)
    with pytest.raises(InputError, match="another content"):
        there.deliver(archive, names)
    assert there.files() == {names[0]: b"somebody else's"}


def test_an_sftp_server_refuses_to_replace(sftp, archive, names, monkeypatch):
    there = sftp_place(sftp)
    real = targets._Sftp._rename

    def comes_between(self: Any, old: str, new: str) -> None:
        there.put(new, b"somebody else's")
        real(self, old, new)

    monkeypatch.setattr(targets._Sftp, "_rename", comes_between)
    with pytest.raises(InputError, match="another content"):
        there.deliver(archive, names)
    assert there.files()[names[0]] == b"somebody else's"


def test_a_file_system_without_hard_links_is_asked_first(tmp_path, archive, names, monkeypatch):
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    there = folder_place(tmp_path)
    monkeypatch.setattr("os.link", no_links)
    there.deliver(archive, names)
    assert there.files() == archived(archive)


def test_a_key_opens_the_door_too(sftp, archive, names):
    there = sftp_place(sftp)
    environ = {
        **sftp.environ,
        "REGUA_SFTP_KEY_FILE": str(Path(sftp.environ["REGUA_SFTP_KNOWN_HOSTS"]).with_name("key")),
    }
    del environ["REGUA_SFTP_PASSWORD"]
    open_target(sftp.url(), environ).deliver(archive, names)
    assert there.files() == archived(archive)


def test_a_host_that_nobody_knows_gets_nothing(sftp, archive, names, tmp_path):
    there = sftp_place(sftp)
    (tmp_path / "nobody").write_text("")
    with pytest.raises(InputError, match="does not know this host"):
        open_target(sftp.url(), {**sftp.environ, "REGUA_SFTP_KNOWN_HOSTS": str(tmp_path / "nobody")}).deliver(
            archive, names
        )
    assert there.files() == {}


def test_a_host_with_another_key_gets_nothing(sftp, archive, names, tmp_path):
    there = sftp_place(sftp)
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    (tmp_path / "other").write_text(f"[127.0.0.1]:{sftp.port} {other}")
    with pytest.raises(InputError, match="another key"):
        open_target(sftp.url(), {**sftp.environ, "REGUA_SFTP_KNOWN_HOSTS": str(tmp_path / "other")}).deliver(
            archive, names
        )
    assert there.files() == {}


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def test_a_store_that_is_down_is_busy_and_tells_no_secret(sftp, archive, names, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    port = closed_port()
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{port} {sftp.host_key}\n[127.0.0.1]:{sftp.port} {sftp.host_key}\n")
    trusted = {**sftp.environ, "REGUA_SFTP_KNOWN_HOSTS": str(known)}
    down = {
        f"sftp://ops@127.0.0.1:{port}/lists": trusted,
        sftp.url("/no/such/folder"): trusted,
        sftp.url(): trusted | {"REGUA_SFTP_PASSWORD": PASSWORD + "x"},
        "s3://some-bucket/x": s3_environ(f"http://127.0.0.1:{port}"),
        str(tmp_path / "not" / "mounted"): {},
    }
    for url, environ in down.items():
        with pytest.raises(BusyError) as told:
            open_target(url, environ).deliver(archive, names)
        assert any(word in str(told.value) for word in ("127.0.0.1", "some-bucket", "mounted"))
        assert PASSWORD not in str(told.value)
        assert S3_SECRET not in str(told.value)
        assert PASSWORD not in repr(open_target(url, environ))
    assert PASSWORD not in caplog.text
    assert S3_SECRET not in caplog.text


def test_a_bucket_that_is_not_there_or_not_ours_is_busy(s3_endpoint, archive, names):
    with pytest.raises(BusyError, match=r"s3://no-such-bucket/x .*: NoSuchBucket"):
        open_target("s3://no-such-bucket/x", s3_environ(s3_endpoint)).deliver(archive, names)


def test_nobody_waits_for_ever(sftp, archive, names, tmp_path, monkeypatch):
    monkeypatch.setattr(targets, "_CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(targets, "_ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(targets, "_ATTEMPTS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {sftp.host_key}\n")
        environ = {**sftp.environ, **s3_environ(f"http://127.0.0.1:{port}")}
        environ["REGUA_SFTP_KNOWN_HOSTS"] = str(tmp_path / "known")
        for url in (f"sftp://ops@127.0.0.1:{port}/lists", "s3://some-bucket/x"):
            began = time.monotonic()
            with pytest.raises(BusyError):
                open_target(url, environ).deliver(archive, names)
            assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sftp://ops:hunter2@host/lists", "holds a password"),
        ("sftp://ops:@host/lists", "holds a password"),
        ("s3://KEY:hunter2@bucket/x", "holds a password"),
        ("s3://hunter2@bucket/x", "holds a password"),
        ("sftp://host/lists", "user@host"),
        ("sftp://ops@/lists", "user@host"),
        ("sftp://ops@host", "user@host"),
        ("sftp://ops@host:port/lists", "cannot be read"),
        ("sftp://ops@[host/lists", "cannot be read"),
        ("s3://Bucket_/x", "bucket/prefix"),
        ("s3:///x", "bucket/prefix"),
        ("s3://bucket/a b", "bucket/prefix"),
        ("s3://bucket/x?key=hunter2", "has no"),
        ("file://server/share", "one of them is none"),
        ("relative/folder", "one of them is none"),
        ("ftp://ops@host/x", "one of them is none"),
        ("https://hunter2/x", "one of them is none"),
        ("", "one of them is none"),
    ],
)
def test_a_url_that_is_no_target_is_refused_and_not_repeated(url, told):
    with pytest.raises(InputError, match=told) as refused:
        open_target(url, {"REGUA_SFTP_KNOWN_HOSTS": "/k", "REGUA_SFTP_PASSWORD": "p"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "REGUA_SFTP_KNOWN_HOSTS must name"),
        ({"REGUA_SFTP_KNOWN_HOSTS": "/k"}, "neither REGUA_SFTP_KEY_FILE nor"),
        ({"REGUA_SFTP_KNOWN_HOSTS": "/k", "REGUA_SFTP_PASSWORD": ""}, "neither REGUA_SFTP_KEY_FILE nor"),
    ],
)
def test_what_sftp_needs_is_asked_for_at_once(environ, told):
    with pytest.raises(InputError, match=told):
        open_target("sftp://ops@host/lists", environ)


@pytest.mark.parametrize("content", [None, "no key", "encrypted"])
def test_a_key_file_that_is_none_is_told_of(sftp, archive, names, tmp_path, content):
    key = tmp_path / "key"
    if content == "encrypted":
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(key, passphrase="x")
    elif content is not None:
        key.write_text(content)
    with pytest.raises(InputError, match="REGUA_SFTP_KEY_FILE"):
        open_target(sftp.url(), {**sftp.environ, "REGUA_SFTP_KEY_FILE": str(key)}).deliver(archive, names)


def test_known_hosts_that_are_not_there_are_told_of(sftp, archive, names):
    with pytest.raises(InputError, match="REGUA_SFTP_KNOWN_HOSTS"):
        open_target(sftp.url(), {**sftp.environ, "REGUA_SFTP_KNOWN_HOSTS": "/no/such"}).deliver(archive, names)


def test_s3_without_a_key_is_told_of(s3_endpoint, archive, names, monkeypatch, tmp_path):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match="AWS_ACCESS_KEY_ID"):
        open_target(f"s3://{BUCKET}/x", {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_REGION": "us-east-1"}).deliver(
            archive, names
        )


def test_a_folder_may_be_a_file_url(tmp_path, archive, names):
    (tmp_path / "with space").mkdir()
    open_target(f"file://{tmp_path}/with%20space", {}).deliver(archive, names)
    assert (tmp_path / "with space" / names[-1]).is_file()


def test_what_speaks_s3_and_ssh_is_loaded_only_when_it_is_used():
    script = (
        "import sys\n"
        "from regua.suspension.targets import open_target\n"
        "open_target('/tmp', {}), open_target('s3://bucket/x', {})\n"
        "print(sorted({'s3fs', 'botocore', 'paramiko', 'fsspec', 'xlsxwriter'} & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
