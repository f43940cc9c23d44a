"""Servers for the tests: a storage proxy as a process, and a TCP forwarder to PostgreSQL that can lose an answer."""

import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path


class Proxy:
    """The command `python -m storage.proxy` as a process."""

    def __init__(self, storage: str) -> None:
        self.storage, self.url = storage, "grpc://127.0.0.1:0"
        self.start()

    def start(self) -> None:
        """Start it, after a stop on the port that it had before."""
        arguments = ["--storage", self.storage, "--port", self.url.rpartition(":")[2]]
        self.process = subprocess.Popen([sys.executable, "-m", "storage.proxy", *arguments], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        self.url = self.first_line.split()[3]

    def stop(self, kill: bool = False) -> int:
        (self.process.kill if kill else self.process.terminate)()
        code = self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


class Forwarder(socketserver.ThreadingTCPServer):
    """Forwards TCP connections to a PostgreSQL socket. After `cut` it loses the next matching answer and hangs up."""

    allow_reuse_address = True

    def __init__(self, path: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.path, self.port, self.armed = path, self.server_address[1], b""
        self.ends: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def cut(self, answer: bytes = b"COMMIT\0") -> None:
        """Lose the next answer that contains `answer`, by default the confirmation of a commit."""
        self.armed = answer

    @property
    def lost(self) -> bool:
        """True once the answer has been lost."""
        return not self.armed

    def close(self) -> None:
        """Close all connections."""
        self.shutdown()
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()


class _Connection(socketserver.BaseRequestHandler):
    server: Forwarder

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as far:
            far.connect(str(self.server.path))
            self.server.ends |= {far, self.request}
            answers = threading.Thread(target=self._carry, args=(far, self.request))
            answers.start()
            self._carry(self.request, far)
            answers.join()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if sink is self.request and self.server.armed and self.server.armed in data:
                    self.server.armed = b""
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
