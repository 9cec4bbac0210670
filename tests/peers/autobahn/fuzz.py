"""The fuzzing client and the fuzzing server of Autobahn|Testsuite, on Python 3 and for byte streams.

fuzz.py client binary|text REPORT URL    runs all cases against the server at URL
fuzz.py server binary|text REPORT        serves all cases, at an address that it prints

What came of each case is written to the file REPORT.

The suite is written for Python 2, whose strings are bytes. Here each character of its strings stands
for a byte, and they are converted on the way to and from the websocket. A byte stream has neither
text nor boundaries of messages: `binary` sends as binary what a case sends as text, and messages are
compared without their boundaries.
"""

import binascii
import json
import sys


def to_bytes(text):
    return text.encode("latin-1") if isinstance(text, str) else text


def to_text(data):
    return data.decode("latin-1")


# the cases call these with strings while they are imported
hex_of_bytes = binascii.b2a_hex
binascii.b2a_hex = lambda data: to_text(hex_of_bytes(to_bytes(data)))

from autobahn.websocket import utf8validator  # noqa: E402


class Utf8Validator(utf8validator.Utf8Validator):
    def validate(self, data):
        return super().validate(to_bytes(data))


utf8validator.Utf8Validator = Utf8Validator

from autobahntestsuite import case, fuzzing  # noqa: E402
from autobahn.websocket.protocol import WebSocketProtocol  # noqa: E402
from twisted.internet import reactor  # noqa: E402

ROLE, KIND, REPORT, *URL = sys.argv[1:]
BINARY = KIND == "binary"


class ByteStream:
    """Goes between a case and the websocket."""

    def connectionMade(self):
        self.sent, self.received = [], []
        super().connectionMade()

    def onOpen(self):
        super().onOpen()
        if self.runCase and self.runCase.expected:
            reactor.callLater(QUIET_SECONDS, self.finish_quiet_case)

    def finish_quiet_case(self):
        if self.state == WebSocketProtocol.STATE_OPEN:
            self.runCase.finishWhenDone()

    def sendFrame(self, opcode, payload=b"", payload_len=None, **options):
        payload = to_bytes(payload)
        if payload_len is not None:
            payload = (payload * (payload_len // len(payload) + 1))[:payload_len]
        self.count_frame(opcode)
        if opcode in DATA:
            self.sent.append(payload)
        if BINARY and self.runCase and opcode == TEXT:
            opcode = 2
        super().sendFrame(opcode, payload, **options)

    def beginMessage(self, isBinary=False):
        self.count_frame(2 if isBinary else TEXT)
        super().beginMessage(isBinary or BINARY)

    def sendMessageFrameData(self, payload, sync=False):
        return super().sendMessageFrameData(to_bytes(payload), sync)

    def sendMessage(self, payload, *options, **more):
        super().sendMessage(to_bytes(payload), *options, **more)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        super().sendCloseFrame(code, to_bytes(reasonUtf8), isReply)

    def count_frame(self, opcode):
        self.txFrameStats[opcode] = self.txFrameStats.get(opcode, 0) + 1

    def onMessage(self, payload, isBinary):
        """Those cases that look only at the length of what comes back get all of it at once."""
        self.received.append(payload)
        length = getattr(self.runCase, "DATALEN", getattr(self.runCase, "LEN", 0))
        if sum(map(len, self.received)) < length:
            return
        received, sent = b"".join(self.received), b"".join(self.sent)
        if length and not sent.startswith(received):
            raise ValueError("what came back is not what was sent")
        self.received, self.sent = [], []
        was_sent_as_text = BINARY and TEXT in self.txFrameStats
        super().onMessage(to_text(received), isBinary != was_sent_as_text)

    def killAfter(self, delay):
        super().killAfter(max(delay, PATIENCE))

    def closeAfter(self, delay):
        super().closeAfter(max(delay, PATIENCE))

    def onPong(self, payload):
        super().onPong(to_text(payload))


class Client(ByteStream, fuzzing.FuzzingClientProtocol):
    pass


class Server(ByteStream, fuzzing.FuzzingServerProtocol):
    pass


def stream(events):
    """Messages that follow each other become one, and an empty one nothing."""
    merged = []
    for event in events:
        if event[0] != "message":
            merged.append(event)
        elif event[1]:
            _, content, is_binary = event
            if merged and merged[-1][0] == "message" and merged[-1][2] == is_binary:
                content = merged.pop()[1] + content
            merged.append(("message", content, is_binary))
    return merged


def report(factory):
    """Writes what came of each case."""
    ran = {name: result for cases in factory.agents.values() for name, result in cases.items()}
    summaries = {
        name: summary(ran[name]) if name in ran else absent(name, factory.specCases)
        for name in factory.CaseSet.CasesById
    }
    with open(REPORT, "w") as file:
        json.dump(summaries, file)


def absent(name, chosen):
    return {"outcome": "DID NOT RUN" if name in chosen else "LEFT OUT"}


def summary(result):
    return {
        "outcome": result["behavior"],
        "close_outcome": result["behaviorClose"],
        "close_code": result["remoteCloseCode"],
        "expected_close_codes": result["expectedClose"].get("closeCode", []),
        "sent_text": not BINARY and TEXT in result["txFrameStats"],
        "story": f"{result['result']} {result['resultClose']} "
        f"Received {result['received']}, expected {result['expected']}.",
    }


TEXT = 1
DATA = (0, 1, 2)

# of an empty message nothing comes back: after this long the case is done
QUIET_SECONDS = 0.2

# a case waits no shorter than this for the other end, in seconds: the machine may be busy
PATIENCE = 10

case.Case.compare = lambda _, ours, theirs: stream(ours) == stream(theirs)
fuzzing.FuzzingFactory.createReports = report
fuzzing.FuzzingClientProtocol = Client
fuzzing.FuzzingServerFactory.protocol = Server
spec = {
    "cases": ["*"],
    # round trips of empty messages
    "exclude-cases": ["9.7.1", "9.8.1"],
    "options": {"openHandshakeTimeout": PATIENCE, "closeHandshakeTimeout": PATIENCE},
}
if BINARY:
    # these send invalid UTF-8, which in binary is as good as any other data
    spec["exclude-cases"] += ["6.3.*", "6.4.*"]
    # and so do these, but they know what else to expect
    for utf8_case in case.Case6_X_X:
        utf8_case.isValid = True
if ROLE == "client":
    server = {"url": URL[0], "options": {"serverConnectionDropTimeout": PATIENCE}}
    factory = fuzzing.FuzzingClientFactory({**spec, "servers": [server]})
else:
    factory = fuzzing.FuzzingServerFactory({**spec, "url": "ws://127.0.0.1:9"})
    port = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port
    url = f"ws://127.0.0.1:{port}"
    factory.setSessionParameters(url)
    print("listening on", url, flush=True)
factory.logOctets = factory.logFrames = False
reactor.run()
