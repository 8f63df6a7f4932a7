"""Copies of a publication where ops wants them: a folder, S3, SFTP (docs/reference/suspension-files.md#targets).

Nothing is ever replaced, and what has arrived is read back. What was broken off is ended by the next attempt: the name
of a file that is on its way says what its content will be, so whoever writes on writes the same bytes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from regua.durable_file import move_new, sync_directory
from regua.errors import BusyError, InputError
from regua.suspension.artefacts import manifest_name_of, verify

if TYPE_CHECKING:
    import paramiko

_CONNECT_SECONDS = 15.0
_ANSWER_SECONDS = 60.0
_ATTEMPTS = 2
_BUCKET = re.compile("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()/=-]*")


class Store(Protocol):
    """Where files go, while it is open."""

    def digest(self, name: str) -> str | None:
        """The sha256 of what lies there, read from it; None when nothing has this name."""

    def create(self, name: str, content: bytes, sha256: str) -> None:
        """Put it there whole, or not at all; where the name is taken by now, nothing happens."""

    def forget(self, name: str, sha256: str) -> None:
        """Take away what somebody left on its way there."""


@dataclass(frozen=True, slots=True)
class Target:
    """`where` is for people, and holds no secret; `opened` does."""

    where: str
    opened: Callable[[], AbstractContextManager[Store]] = field(repr=False)

    def deliver(self, folder: Path, names: Sequence[str]) -> None:
        """Copy a publication that was placed in `folder`, the manifest last. What is there already counts as copied.

        Raises InputError when a file there has another content, or the publication itself is not whole; BusyError when
        the store cannot be reached, refuses, or what arrived is not what was sent.
        """
        manifest = verify(folder, manifest_name_of(names))
        if sorted(names) != sorted(manifest.names):
            raise InputError(f"{manifest.name} names other files than those that are to be copied.")
        contents = {name: (folder / name).read_bytes() for name in manifest.names}
        with self.opened() as store:
            for name, content in contents.items():
                self._bring(store, name, content)

    def _bring(self, store: Store, name: str, content: bytes) -> None:
        wanted = hashlib.sha256(content).hexdigest()
        found = store.digest(name)
        if found is None:
            store.create(name, content, wanted)
            found = store.digest(name)
            if found is None:
                raise BusyError(f"{self.where}: {name} is not there, though it was written.")
        if found != wanted:
            raise InputError(
                f"{self.where}: {name} is there with another content. A published file is never rewritten: find out "
                "who wrote it."
            )
        store.forget(name, wanted)


def open_target(url: str, environ: Mapping[str, str]) -> Target:
    """The target at a URL, with the secrets of `environ`. Nothing is reached for before `deliver`.

    Raises InputError for a URL that is none of these, or holds a password, and for secrets that are missing.
    """
    # What is wrong with a URL is said without it: it may hold a secret.
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError("The URL of a target cannot be read.") from error
    if parts.password is not None or (parts.scheme == "s3" and "@" in parts.netloc):
        raise InputError("The URL of a target holds a password: secrets come from the environment.")
    if url.startswith("/"):
        return _folder_target(Path(url))
    if parts.query or parts.fragment:
        raise InputError("The URL of a target has no '?' and no '#'.")
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        return _folder_target(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        return _s3_target(parts, environ)
    if parts.scheme == "sftp":
        return _sftp_target(parts, port or 22, environ)
    raise InputError(
        "A target is a folder by its whole path, s3://bucket/prefix or sftp://user@host/path; one of them is none."
    )


class _StoreThatRenames(ABC):
    """Writes beside, reads back, then renames."""

    def create(self, name: str, content: bytes, sha256: str) -> None:
        beside = _beside(name, sha256)
        try:
            self._write(beside, content)
            arrived = self.digest(beside)
            if arrived == sha256:
                self._rename(beside, name)
                return
        except OSError:
            # Another was quicker; what it has put there is looked at next.
            if self.digest(name) is None:
                raise
            return
        if self.digest(name) is None:
            self.forget(name, sha256)
            raise BusyError(f"{name} did not arrive as it was sent.")

    def forget(self, name: str, sha256: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._remove(_beside(name, sha256))

    @abstractmethod
    def digest(self, name: str) -> str | None: ...

    @abstractmethod
    def _write(self, name: str, content: bytes) -> None:
        """From the beginning, without cutting short what is there: somebody else may be about to rename it."""

    @abstractmethod
    def _rename(self, old: str, new: str) -> None:
        """Raises OSError when something has the new name."""

    @abstractmethod
    def _remove(self, name: str) -> None: ...


def _beside(name: str, sha256: str) -> str:
    return f".{name}.{sha256[:16]}.part"


class _Folder(_StoreThatRenames):
    def __init__(self, path: Path) -> None:
        self._path = path

    def digest(self, name: str) -> str | None:
        try:
            with (self._path / name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        with os.fdopen(os.open(self._path / name, os.O_WRONLY | os.O_CREAT, 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _rename(self, old: str, new: str) -> None:
        move_new(self._path / old, self._path / new)
        sync_directory(self._path)

    def _remove(self, name: str) -> None:
        (self._path / name).unlink()


def _folder_target(path: Path) -> Target:
    return Target(str(path), partial(_opened_folder, path))


@contextlib.contextmanager
def _opened_folder(path: Path) -> Iterator[Store]:
    # It is not made: where a share is not mounted, the files would end on this machine's own disk.
    if not path.is_dir():
        raise BusyError(f"{path} is not there. Is it mounted?")
    try:
        yield _Folder(path)
    except OSError as error:
        raise BusyError(f"{path}: {error.strerror}.") from error


class _S3:
    """One PUT a file, which S3 refuses where the key exists; a store that has no such condition is asked before."""

    def __init__(self, s3: Any, bucket: str, prefix: str) -> None:
        self._s3, self._bucket, self._prefix = s3, bucket, prefix

    def digest(self, name: str) -> str | None:
        try:
            content = self._s3.cat_file(f"{self._bucket}/{self._prefix}{name}", max_concurrency=1)
        except FileNotFoundError:
            return None
        return hashlib.sha256(content).hexdigest()

    def create(self, name: str, content: bytes, sha256: str) -> None:
        put = partial(
            self._s3.call_s3,
            "put_object",
            Bucket=self._bucket,
            Key=self._prefix + name,
            Body=content,
            ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
            ContentType="application/json" if name.endswith(".json") else "text/csv; charset=utf-8",
        )
        try:
            put(IfNoneMatch="*")
        except OSError as error:
            code = _s3_code(error)
            if code == "NotImplemented":
                put()
            elif code not in ("PreconditionFailed", "412"):
                raise

    def forget(self, name: str, sha256: str) -> None:
        """A PUT that was broken off leaves nothing."""


def _s3_code(error: BaseException) -> str:
    response = getattr(error.__cause__, "response", None) or getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _s3_target(parts: SplitResult, environ: Mapping[str, str]) -> Target:
    prefix = parts.path.strip("/")
    if not _BUCKET.fullmatch(parts.netloc) or not _PREFIX.fullmatch(prefix):
        raise InputError("A target on S3 is s3://bucket/prefix, with a bucket and a prefix as S3 allows them.")
    where = f"s3://{parts.netloc}/{prefix}"
    return Target(where, partial(_opened_s3, where, parts.netloc, f"{prefix}/" if prefix else "", environ))


@contextlib.contextmanager
def _opened_s3(where: str, bucket: str, prefix: str, environ: Mapping[str, str]) -> Iterator[Store]:
    import fsspec
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    try:
        # Without a key it is botocore that looks for one: a profile, the role of the machine.
        s3 = fsspec.filesystem(
            "s3",
            key=environ.get("AWS_ACCESS_KEY_ID") or None,
            secret=environ.get("AWS_SECRET_ACCESS_KEY") or None,
            token=environ.get("AWS_SESSION_TOKEN") or None,
            endpoint_url=environ.get("AWS_ENDPOINT_URL") or None,
            client_kwargs={"region_name": region} if region else {},
            config_kwargs={
                "connect_timeout": _CONNECT_SECONDS,
                "read_timeout": _ANSWER_SECONDS,
                "retries": {"max_attempts": _ATTEMPTS},
                # Checksums of its own making break many stores that speak S3; each PUT carries a SHA-256.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        s3.retries = _ATTEMPTS
        yield _S3(s3, bucket, prefix)
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise InputError(
            f"{where}: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, or one of them."
        ) from error
    except (OSError, BotoCoreError, ClientError) as error:
        code = _s3_code(error) or type(error).__name__
        raise BusyError(f"{where} cannot be reached, or refuses: {code}.") from error


class _Sftp(_StoreThatRenames):
    """SFTP's own rename, which unlike OpenSSH's other one replaces nothing."""

    def __init__(self, sftp: paramiko.SFTPClient, path: str) -> None:
        self._sftp, self._path = sftp, path

    def digest(self, name: str) -> str | None:
        try:
            with self._sftp.open(self._at(name), "rb") as file:
                file.prefetch()
                return hashlib.sha256(file.read()).hexdigest()
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        try:
            file = self._sftp.open(self._at(name), "wbx")
        except OSError:
            # It is there, or there is no writing at all.
            file = self._sftp.open(self._at(name), "rb+")
        with file:
            file.set_pipelined(True)
            file.write(content)

    def _rename(self, old: str, new: str) -> None:
        self._sftp.rename(self._at(old), self._at(new))

    def _remove(self, name: str) -> None:
        self._sftp.remove(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"


def _sftp_target(parts: SplitResult, port: int, environ: Mapping[str, str]) -> Target:
    host, user = parts.hostname, parts.username
    if not host or not user or not parts.path.startswith("/"):
        raise InputError("A target by SFTP is sftp://user@host/path, with the whole path.")
    where = f"sftp://{host}:{port}{parts.path}"
    known_hosts = environ.get("REGUA_SFTP_KNOWN_HOSTS")
    if not known_hosts:
        raise InputError(f"{where}: REGUA_SFTP_KNOWN_HOSTS must name a file with the keys of the hosts we may trust.")
    key_file, password = environ.get("REGUA_SFTP_KEY_FILE") or None, environ.get("REGUA_SFTP_PASSWORD") or None
    if key_file is None and password is None:
        raise InputError(f"{where}: neither REGUA_SFTP_KEY_FILE nor REGUA_SFTP_PASSWORD is set.")
    connect = {"hostname": host, "port": port, "username": unquote(user), "password": password}
    path = unquote(parts.path).rstrip("/")
    return Target(where, partial(_opened_sftp, where, path, connect, known_hosts, key_file))


@contextlib.contextmanager
def _opened_sftp(
    where: str, path: str, connect: Mapping[str, Any], known_hosts: str, key_file: str | None
) -> Iterator[Store]:
    import paramiko

    with paramiko.SSHClient() as client:
        try:
            client.load_system_host_keys(known_hosts)
        except (OSError, paramiko.SSHException) as error:
            raise InputError(f"REGUA_SFTP_KNOWN_HOSTS: {known_hosts} cannot be read.") from error
        # fsspec's own SFTP would trust any host.
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        key = None if key_file is None else _private_key(key_file)
        try:
            client.connect(
                **connect,
                pkey=key,
                timeout=_CONNECT_SECONDS,
                banner_timeout=_CONNECT_SECONDS,
                auth_timeout=_CONNECT_SECONDS,
                channel_timeout=_CONNECT_SECONDS,
                allow_agent=False,
                look_for_keys=False,
            )
            with client.open_sftp() as sftp:
                channel = sftp.get_channel()
                if channel is not None:
                    channel.settimeout(_ANSWER_SECONDS)
                yield _Sftp(sftp, path)
        except paramiko.BadHostKeyException as error:
            raise InputError(f"{where}: the host has another key than in {known_hosts}. Nothing was sent.") from error
        except paramiko.AuthenticationException as error:
            raise BusyError(f"{where} refuses the user, or its key or password.") from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            if "not found in known_hosts" in str(error):
                raise InputError(f"{where}: {known_hosts} does not know this host. Nothing was sent.") from error
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise BusyError(f"{where} cannot be reached, or refuses: {reason}.") from error


def _private_key(path: str) -> paramiko.PKey:
    import paramiko
    from paramiko.pkey import UnknownKeyType

    try:
        return paramiko.PKey.from_path(path)
    except (OSError, ValueError, TypeError, paramiko.SSHException, UnknownKeyType) as error:
        raise InputError(f"REGUA_SFTP_KEY_FILE: {path} is no private key without a passphrase.") from error
