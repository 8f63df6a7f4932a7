"""Real stores on this machine: S3 as moto serves it, and an SSH server that has only SFTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

USER, PASSWORD = "ops", "s3nh4-canario"


@dataclass
class SftpServer:
    """Its users see `root` as `/`. `environ` holds what a client must be told.

    With `renames_left` it breaks off the connection at the rename after so many.
    """

    port: int
    root: Path
    environ: dict[str, str]
    host_key: str
    requests: list[str] = field(default_factory=list)
    renames_left: int | None = None

    def url(self, path: str = "/lists") -> str:
        return f"sftp://{USER}@127.0.0.1:{self.port}{path}"


class _OnlyPassword(asyncssh.SSHServer):
    def __init__(self, authorized: str) -> None:
        self._authorized = authorized

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        self._connection.set_authorized_keys(asyncssh.import_authorized_keys(self._authorized))
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


@contextmanager
def sftp_server(folder: Path) -> Iterator[SftpServer]:
    """Keys, known hosts and files lie in `folder`."""
    root = folder / "root"
    (root / "lists").mkdir(parents=True)
    host_key, client_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    client_key.write_private_key(folder / "key")
    public = host_key.export_public_key().decode().strip()
    server = SftpServer(0, root, {}, public)
    loop = asyncio.new_event_loop()

    class Sftp(asyncssh.SFTPServer):
        def __init__(self, chan: asyncssh.SSHServerChannel) -> None:
            super().__init__(chan, chroot=str(root).encode())

        def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
            server.requests.append(f"open {path.decode()}")
            return super().open(path, pflags, attrs)

        def rename(self, oldpath: bytes, newpath: bytes) -> object:
            server.requests.append(f"rename {newpath.decode()}")
            if server.renames_left is not None:
                server.renames_left -= 1
                if server.renames_left < 0:
                    self.connection.abort()
                    raise asyncssh.SFTPConnectionLost("gone")
            return super().rename(oldpath, newpath)

        def posix_rename(self, oldpath: bytes, newpath: bytes) -> object:
            raise AssertionError("this one replaces")

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            lambda: _OnlyPassword(client_key.export_public_key().decode()),
            "127.0.0.1",
            0,
            server_host_keys=[host_key],
            sftp_factory=Sftp,
        )

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
    server.port = acceptor.get_port()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {public}\n")
    server.environ = {"REGUA_SFTP_KNOWN_HOSTS": str(folder / "known_hosts"), "REGUA_SFTP_PASSWORD": PASSWORD}

    async def close() -> None:
        acceptor.close()
        await acceptor.wait_closed()

    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
