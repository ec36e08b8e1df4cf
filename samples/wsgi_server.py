"""WSGI: a web server of a hundred lines, and an application behind it. It answers five clients of its own, then whoever else comes.

    connection --> green thread: read a request --> application --> write the response --.
                        ^----------- the next on the same connection (keep-alive) <-----'

What one should see: nothing wrong. One `serve` parked on the fd of the listening socket and one `converse` for each connection,
most of the time parked on a read; a request for /slow sleeps while the others are answered. The first line of output is the
address: `--for 0` serves until it is killed, and then `curl` and `wrk` are welcome.
"""

import io
import sys
from urllib.parse import unquote_to_bytes

if __package__:
    from .runtime import choose, command_line
else:
    from runtime import choose, command_line

CLIENTS, PATHS = 5, ("/", "/slow", "/stream")
LONGEST_HEAD = 64 * 1024


def application(environ, start_response):
    """Say hello, slowly or in parts; give back what was posted; fail."""
    path, plain = environ["PATH_INFO"], [("Content-Type", "text/plain; charset=utf-8")]
    if path == "/error":
        raise RuntimeError("the application fails, as it was asked to")
    if path == "/stream":
        start_response("200 OK", plain)
        return (f"part {number}\n".encode() for number in range(3))
    if path == "/slow":
        rt.sleep(0.05)
    body = environ["wsgi.input"].read() if path == "/echo" else f"hello from {path}\n".encode()
    start_response("200 OK", [*plain, ("Content-Length", str(len(body)))])
    return [body]


class BadRequest(Exception):
    """The client does not speak HTTP, or too much of it."""


def read_head(source):
    """Return (method, target, version, headers); None at the end of the connection."""
    line = source.readline(LONGEST_HEAD)
    if not line:
        return None
    words = line.decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest("this is no request of HTTP/1")
    headers, left = {}, LONGEST_HEAD
    while (line := source.readline(left)) not in (b"\r\n", b"\n"):
        left -= len(line)
        name, colon, value = line.decode("latin-1").partition(":")
        if left <= 0 or not colon or name != name.strip():
            raise BadRequest("these are no headers")
        name = name.lower()
        headers[name] = f"{headers[name]},{value.strip()}" if name in headers else value.strip()
    return (*words, headers)


def read_body(source, headers):
    """Return the whole body, of a length that was told or in chunks."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise BadRequest("this is no length")
        return source.read(int(length))
    parts = []
    while size := int(source.readline(100).split(b";")[0], 16):
        parts.append(source.read(size))
        source.readline(100)
    while source.readline(LONGEST_HEAD) not in (b"\r\n", b"\n", b""):
        pass
    return b"".join(parts)


def environment(method, target, version, headers, body, address):
    """Return what the application is told of a request."""
    path, _, query = target.partition("?")
    made = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": address[0],
        "SERVER_PORT": str(address[1]),
        "SERVER_PROTOCOL": version,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        made[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return made


class Response:
    """What goes out: the head with the first bytes of the body, which is cut in chunks when its length is not known."""

    def __init__(self, connection, method, version):
        self.connection = connection
        self.bodiless = method == "HEAD"
        self.version = version
        self.head = None
        self.sent = self.chunked = False
        self.lasts = version != "HTTP/1.0"

    def start(self, status, headers, exc_info=None):
        """The application's `start_response`."""
        if exc_info and self.sent:
            raise exc_info[1]
        names = {name.lower() for name, _ in headers}
        bodiless = self.bodiless or status[:3] in ("204", "304")
        self.chunked = self.lasts and "content-length" not in names and not bodiless
        self.lasts = self.lasts and (self.chunked or bodiless or "content-length" in names)
        extra = [("Transfer-Encoding", "chunked")] if self.chunked else []
        extra += [] if self.lasts else [("Connection", "close")]
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in [*headers, *extra])]
        self.head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        return self.write

    def write(self, data, last=False):
        out = b"" if self.sent else self.head
        self.sent = True
        if data and not self.bodiless:
            out += b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data
        if last and self.chunked:
            out += b"0\r\n\r\n"
        if out:
            self.connection.sendall(out)


def answer(app, environ, response):
    """Call the application and send what it returns. An error before the head is sent is told to the client."""
    parts = []
    try:
        parts = app(environ, response.start)
        for part in parts:
            if part:
                response.write(part)
        response.write(b"", last=True)
    except OSError:
        raise
    except Exception as error:
        print(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}: {type(error).__name__}: {error}", file=sys.stderr)
        response.lasts = False
        if not response.sent:
            refuse(response, "500 Internal Server Error")
    finally:
        if hasattr(parts, "close"):
            parts.close()


def refuse(response, status):
    response.lasts = False
    response.start(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(status) + 1))])
    response.write(f"{status}\n".encode())


def converse(app, connection):
    """Answer one request after the other."""
    try:
        with connection, connection.makefile("rb") as source:
            lasts = True
            while lasts:
                response = Response(connection, "GET", "HTTP/1.0")
                try:
                    head = read_head(source)
                    if head is None:
                        return
                    method, target, version, headers = head
                    response = Response(connection, method, version)
                    response.lasts = headers.get("connection", "").lower() != "close" and response.lasts
                    if headers.get("expect", "").lower() == "100-continue":
                        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                    body = read_body(source, headers)
                except (BadRequest, ValueError):
                    refuse(response, "400 Bad Request")
                    return
                answer(app, environment(method, target, version, headers, body, connection.getsockname()), response)
                lasts = response.lasts
    except OSError:
        # The client has gone; there is nobody to tell.
        pass


def serve(listener, app):
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(rt.socket.IPPROTO_TCP, rt.socket.TCP_NODELAY, 1)
        rt.spawn(converse, app, connection)


def client(address):
    """Ask for each path over one connection; return how many were answered well."""
    with rt.socket.create_connection(address) as connection, connection.makefile("rb") as source:
        for path in PATHS:
            last = "Connection: close\r\n" if path == PATHS[-1] else ""
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{last}\r\n".encode())
            if last:
                return PATHS.index(path) + source.read().startswith(b"HTTP/1.1 200")
            assert source.readline().startswith(b"HTTP/1.1 200")
            while (line := source.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            source.read(length)
    return len(PATHS)


def main(seconds):
    listener = rt.socket.socket()
    listener.setsockopt(rt.socket.SOL_SOCKET, rt.socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print("http://{}:{}/".format(*listener.getsockname()), flush=True)
    server = rt.spawn(serve, listener, application)
    clients = [rt.spawn(client, listener.getsockname()) for _ in range(CLIENTS)]
    print(f"{sum(rt.wait(each) for each in clients)} requests were answered", flush=True)
    if not seconds:
        rt.wait(server)
    rt.sleep(seconds)
    server.kill()
    listener.close()


if __name__ == "__main__":
    options = command_line(__doc__, seconds=0.1)
    rt = choose(options.runtime)
    main(options.seconds)
