"""A reader of IPFIX, and collectors on TCP and TLS that can be told how to misbehave."""
import contextlib
import ctypes
import os
import socket
import ssl
import struct
import sys
import threading
import time

VARIABLE = 65535


class Stream:
    """Reads the messages of one session; what breaks RFC 7011 is in errors."""

    def __init__(self):
        self.data = b""
        self.templates = {}
        self.expected = 0
        self.records = []    # dicts of flow records
        self.options = []
        self.template_messages = 0
        self.messages = 0
        self.time = 0
        self.errors = []

    def feed(self, data):
        self.data += data
        while len(self.data) >= 16:
            version, length, when, sequence, _ = struct.unpack("!HHIII", self.data[:16])
            if version != 10 or length < 16:
                self.errors.append(f"no IPFIX message: version {version}, length {length}")
                self.data = b""
                return
            if len(self.data) < length:
                return
            message, self.data = self.data[16:length], self.data[length:]
            if sequence != self.expected:
                self.errors.append(f"sequence {sequence} instead of {self.expected} in message {self.messages}")
                self.expected = sequence
            if when < self.time:
                self.errors.append(f"Export Time goes back from {self.time} to {when}")
            self.time = when
            self.messages += 1
            self.expected += self.sets(message)

    def sets(self, message):
        count, at, announced = 0, 0, False
        while at + 4 <= len(message):
            set_id, length = struct.unpack("!HH", message[at:at + 4])
            body = message[at + 4:at + length]
            if length < 4:
                self.errors.append("a set shorter than its header")
                break
            if set_id in (2, 3):
                announced = True
                self.announce(body, set_id == 3)
            elif set_id in self.templates:
                count += self.decode(body, *self.templates[set_id])
            else:
                self.errors.append(f"data of template {set_id}, which nobody has announced")
            at += length
        self.template_messages += announced
        return count

    def announce(self, body, options):
        at = 0
        while at + 4 <= len(body):
            template, n = struct.unpack("!HH", body[at:at + 4])
            at += 4
            if n == 0:  # withdrawn
                self.templates = {} if template < 256 else {k: v for k, v in self.templates.items() if k != template}
                continue
            if template in self.templates:
                self.errors.append(f"template {template} is announced again")
            at += 2 if options else 0
            fields = []
            for _ in range(n):
                element, length = struct.unpack("!HH", body[at:at + 4])
                at += 8 if element & 0x8000 else 4
                fields.append((element, length))
            self.templates[template] = (fields, options)

    def decode(self, body, fields, options):
        at, count = 0, 0
        least = sum(1 if length == VARIABLE else length for _, length in fields)
        while at + least <= len(body):
            record = {}
            for element, length in fields:
                if length == VARIABLE:
                    length = body[at]
                    at += 1
                record[element] = body[at:at + length]
                at += length
            (self.options if options else self.records).append(record)
            count += 1
        return count


def key(record):
    return record.get(8, record.get(27)), record.get(12, record.get(28)), record[7], record[11], record[4]


class TlsConnection:
    """The server's side of TLS on a socket: goodbyes and alerts can be said when nobody else would."""

    def __init__(self, connection, context):
        self.connection = connection
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.push()
                self.pull_record()
        self.push()

    def push(self):
        data = self.outgoing.read()
        if data:
            self.connection.sendall(data)

    def pull(self):
        data = self.connection.recv(65536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def pull_record(self):
        """One, and no more: what comes behind the handshake nobody has read who is not asked to."""
        header = self.pull_exactly(5)
        self.incoming.write(header + self.pull_exactly(int.from_bytes(header[3:], "big")))

    def pull_exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.connection.recv(size - len(data))
            if not more:
                raise ConnectionError("the exporter went away in the handshake")
            data += more
        return data

    def recv(self, size):
        while True:
            try:
                return self.tls.read(size)
            except ssl.SSLWantReadError:
                self.pull()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError:
                return b""

    def goodbye(self):
        """The octets that say it; whoever asks has to send them."""
        try:
            self.tls.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLError):
            pass
        return self.outgoing.read()

    def alert(self):
        """A fatal one, by reading what is no record."""
        self.incoming.write(bytes([23, 3, 3, 0, 40]) + bytes(40))
        try:
            while True:
                self.tls.read(65536)
        except (ssl.SSLError, OSError):
            pass
        self.push()

    def __getattr__(self, name):
        return getattr(self.connection, name)


alone = threading.Lock()


@contextlib.contextmanager
def uninterrupted():
    """What is done in here is not held up: no other thread asks for the interpreter's lock, and, as root, the kernel lets
    nobody else run first."""
    with alone:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(10)
        time.sleep(2 * usual)  # whoever waits for the lock by now has heard of that
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            sys.setswitchinterval(usual)


def leave(connection, words, seconds):
    """Sends the last words, says that nothing more is wanted, and closes seconds later.  Without seconds it closes at once,
    and nothing comes between words and that: the exporter waits only so long for what the close may tell."""
    if seconds:
        connection.sendall(words)
        connection.shutdown(socket.SHUT_WR)
        time.sleep(seconds)
        return
    libc = ctypes.PyDLL(None)  # these calls do not give the lock away
    send, close = libc.send, libc.close
    with uninterrupted() if words else contextlib.nullcontext():
        fd = connection.detach()
        if words:
            send(fd, words, len(words), socket.MSG_NOSIGNAL)
        close(fd)


class Collector(threading.Thread):
    """Listens on TCP.  plan is what to do with each connection, one after the other; the last one holds for all
    that follow:
      read         until the exporter closes
      fin:N        after N octets say that nothing more is wanted, but read what is still coming
      rst:N        after N octets reset the connection, having read all that had come
      unread:N     after N octets read no more, and die with unread data after a second
      away:N:S     as rst:N, and nobody listens for S seconds
      leave:N:S    after N octets read no more, say that nothing more is wanted, and S seconds later close
      goodbye:N:S  the same, and before it the layer's own goodbye (TLS: close_notify)
      alert:N      after N octets a fatal alert (TLS), and close
      still:N      after N octets read no more, and do nothing else
      N of 0: nothing is read at all
      mute         read until the exporter ends the session, and do not answer that
    """

    def __init__(self, *plan, port=0, wrap=None):
        super().__init__(daemon=True)
        self.plan = list(plan) or ["read"]
        self.wrap = wrap
        self.streams = []
        self.connected = []
        self.failures = []
        self.ending = False
        self.released = threading.Event()
        self.port = port
        self.listen()
        self.start()

    def listen(self):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.socket.bind(("127.0.0.1", self.port))
        self.socket.listen(8)
        self.socket.settimeout(0.1)
        self.port = self.socket.getsockname()[1]

    def run(self):
        while not self.ending:
            try:
                connection, _ = self.socket.accept()
            except socket.timeout:
                continue
            step = self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]
            self.connected.append(time.monotonic())
            self.streams.append(Stream())
            connection.settimeout(30)
            try:
                if self.wrap:
                    connection = self.wrap(connection)
                self.serve(connection, self.streams[-1], *step.split(":"))
            except OSError as error:
                self.failures.append(error)
            connection.close()
        self.socket.close()

    def misbehave(self, connection, what, seconds):
        """What a collector does that reads no more; the connection is closed behind it."""
        if what == "unread":
            time.sleep(1)
        elif what == "alert":
            connection.alert()
        elif what in ("leave", "goodbye"):
            leave(connection, connection.goodbye() if what == "goodbye" else b"", float(seconds or 0))
        elif what in ("still", "mute"):
            self.released.wait(60)
        else:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def serve(self, connection, stream, what, after=None, seconds=None):
        total, told = 0, False
        if after == "0":
            self.misbehave(connection, what, seconds)
            return
        while True:
            data = connection.recv(65536)
            if not data:
                if what == "mute":
                    self.misbehave(connection, what, seconds)
                return
            stream.feed(data)
            total += len(data)
            if after is None or total < int(after) or told:
                continue
            if what == "fin":
                connection.shutdown(socket.SHUT_WR)
                told = True
            elif what == "away":
                self.misbehave(connection, what, seconds)
                self.socket.close()
                connection.close()
                time.sleep(float(seconds))
                self.listen()
                return
            else:
                self.misbehave(connection, what, seconds)
                return

    def stop(self):
        self.ending = True
        self.released.set()
        self.join()
        return self.streams

    def records(self):
        return [r for s in self.streams for r in s.records]


class UdpCollector(threading.Thread):
    """Of root: a session is what comes from one port, and a reader gets it."""

    def __init__(self, reader=Stream):
        super().__init__(daemon=True)
        self.reader = reader
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.1)
        self.port = self.socket.getsockname()[1]
        self.sessions = {}
        self.ending = False
        self.start()

    def run(self):
        while True:
            try:
                data, sender = self.socket.recvfrom(65535)
            except socket.timeout:
                if self.ending:
                    return
                continue
            if data:
                self.sessions.setdefault(sender, self.reader()).feed(data)

    def stop(self):
        self.ending = True
        self.join()
        return list(self.sessions.values())
