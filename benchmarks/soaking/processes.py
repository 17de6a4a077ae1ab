"""The two processes of a soak, the provider and `laconic serve`, and what happens to the second."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from soaking import config

HERE = Path(__file__).parent
COMMAND = "import sys; from proxy.cli import main; sys.exit(main())"
START_SECONDS = 120
STOP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Served:
    """`laconic serve`, where it listens, and its files."""

    process: subprocess.Popen[bytes]
    port: int
    provider: int
    config: Path
    ledger: Path
    log: Path

    def reload(self, content: str) -> None:
        config.write(self.config, content)
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> int | None:
        """Its exit status after SIGTERM; None where it had to be killed."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None


@contextmanager
def serving(folder: Path, workers: int | None) -> Iterator[Served]:
    """Both, ready, while the block lasts. `workers`: of `laconic serve --workers`; None: without that flag."""
    provider = free_port()
    port = free_port()
    file = folder / "laconic.toml"
    config.write(file, config.text(provider, 0.6))
    command = ["serve", "--config", str(file), "--port", str(port)]
    command += ["--workers", str(workers)] if workers else []
    environment = {**os.environ, "LACONIC_LEDGER": str(folder / "ledger.sqlite3")}
    with subprocess.Popen([sys.executable, "-m", "soaking.provider", str(provider)], cwd=HERE.parent) as behind:
        try:
            with (folder / "serve.log").open("wb") as log:
                process = subprocess.Popen([sys.executable, "-c", COMMAND, *command], stderr=log, env=environment)
            served = Served(process, port, provider, file, folder / "ledger.sqlite3", folder / "serve.log")
            try:
                until(lambda: answers(port, "/readyz") and answers(provider, "/soak/state"), process, "laconic serve")
                yield served
            finally:
                if process.poll() is None:
                    served.stop()
        finally:
            behind.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def until(ready: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    """Waits for a process to get ready. Raises `RuntimeError` where it ends or takes too long."""
    late = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > late:
            raise RuntimeError(f"does not get ready: {what}")
        time.sleep(0.1)


def answers(port: int, path: str) -> bool:
    """Whether it answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
