"""Servers on this machine that answer well, badly, slowly or never."""

import socket
import threading
from contextlib import contextmanager


class RawServer:
    """Answers each connection by a function of the socket; keeps the requests it read."""

    def __init__(self, answer, wrap=lambda sock: sock):
        self.requests = []
        self._answer, self._wrap = answer, wrap
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._wrap(sock) as wrapped:
                    self._serve(wrapped)
            except OSError:
                continue  # the client has gone, as several tests want

    def _serve(self, sock):
        sock.settimeout(5)
        request = b""
        while b"\r\n\r\n" not in request:
            got = sock.recv(65536)
            if not got:
                return
            request += got
        head, _, body = request.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(body) < length:
            body += sock.recv(65536)
        self.requests.append((head.decode("latin-1"), body))
        self._answer(self, sock)

    def close(self):
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self._thread.join(60)


@contextmanager
def serving(answer, **options):
    server = RawServer(answer, **options)
    try:
        yield server
    finally:
        server.close()


def sends(*pieces):
    """An answer that sends these bytes and closes."""

    def answer(server, sock):
        for piece in pieces:
            sock.sendall(piece)

    return answer


def http_answer(status="200 OK", body=b"", *headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def drips(prefix, piece, pause_s):
    """An answer that sends a little, again and again, until the client leaves."""

    def answer(server, sock):
        sock.sendall(prefix)
        while not server.stopping.wait(pause_s):
            sock.sendall(piece)

    return answer
