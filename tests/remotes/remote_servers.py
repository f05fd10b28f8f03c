"""Real servers for DVC remotes, on free ports of this machine alone: an S3 store, an sshd, and HTTP over a folder."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

KEY, SECRET = "a-key", "a-secret"


class Server:
    """A process that listens: it can be killed as a machine dies, and started again on the same port."""

    def __init__(self, command: Callable[[], list[str]], ready: Callable[[], bool], log: Path) -> None:
        self._command, self._ready, self._log = command, ready, log

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("a") as log:
            self._running = subprocess.Popen(self._command(), stdout=log, stderr=log)
        start = time.monotonic()
        while not self._ready():
            assert self._running.poll() is None and time.monotonic() - start < 60, self._log.read_text()[-2000:]
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and all that serves for it with SIGKILL."""
        process = psutil.Process(self._running.pid)
        for one in (process, *process.children(recursive=True)):
            one.kill()
        self._running.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    found = [socket.socket() for _ in range(count)]
    for one in found:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in found]
    for one in found:
        one.close()
    return ports


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def http(folder: Path, log: Path) -> tuple[Server, str]:
    """A web server over a folder, and its address. It takes no uploads."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)]
    return Server(lambda: command, lambda: listens(port), log), f"http://127.0.0.1:{port}"


def s3(folder: Path) -> tuple[Server, str]:
    """An S3 store that keeps its objects in a folder, and its address."""
    folder.mkdir()
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    user = {"name": "user", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": actions}
    (folder / "users.json").write_text(json.dumps({"identities": [user]}))
    names = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    command = [
        *(str(Path(sys.executable).parent / "weed"), f"-logdir={folder}", "server", f"-dir={folder}"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={folder / 'users.json'}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=20"),
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    address = f"http://127.0.0.1:{ports['s3.port']}"
    return Server(lambda: command, lambda: _has_bucket(address), folder / "log"), address


def replacer(address: str) -> Callable[[str, bytes | None], None]:
    """What gives the object at s3://bucket/key another content, or deletes it."""

    def replace(url: str, content: bytes | None) -> None:
        _, _, name, key = url.split("/", 3)
        if content is None:
            _client(address).delete_object(Bucket=name, Key=key)
        else:
            _client(address).put_object(Bucket=name, Key=key, Body=content)

    return replace


def _has_bucket(address: str) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        _client(address).create_bucket(Bucket="bucket")
    except ClientError as error:
        return "BucketAlready" in str(error)
    except BotoCoreError:
        return False
    return True


def _client(address: str) -> Any:
    from botocore.session import get_session

    names = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
    return get_session().create_client("s3", endpoint_url=address, **names)


def sshd(folder: Path) -> tuple[Server, int, Path]:
    """An sshd for the current user with keys of its own, its port, and the key that it lets in."""
    folder.mkdir(mode=0o700)
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "key.pub", folder / "authorized_keys")
    (folder / "authorized_keys").chmod(0o600)
    [port] = free_ports(1)
    settings = {
        "ListenAddress": "127.0.0.1", "Port": port, "HostKey": folder / "host", "PidFile": "none", "UsePAM": "no",
        "AuthorizedKeysFile": folder / "authorized_keys", "StrictModes": "no", "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no", "PermitRootLogin": "yes", "Subsystem": "sftp internal-sftp",
        "AllowUsers": getpass.getuser(),
    }  # fmt: skip
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # which a system's sshd finds made for it
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "no sshd: install openssh-server"
    command = [program, "-D", "-e", "-f", str(folder / "config")]
    return Server(lambda: command, lambda: listens(port), folder / "log"), port, folder / "key"
