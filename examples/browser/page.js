// A client of the example `browser`: it sends bytes through a websocket and takes them back.

/// How much is sent in one message, in bytes. Chromium is fastest at this; the server takes more.
const MESSAGE = 32 * 1024;

/// How much may wait in the browser before more is sent, in bytes.
const MAX_BUFFERED = 1024 * 1024;

/// How long to wait for room in the browser's buffer, in ms: there is no event for that.
const ROOM_PAUSE = 1;

/// How much a measurement of the round trip sends, in bytes; how long to wait between two of them,
/// in ms; how many are shown; and how many are not, as the first ones are slow.
const PROBE = 8;
const PROBE_PAUSE = 500;
const PROBES_SHOWN = 40;
const WARM_UP = 5;

/// How much of a round trip the chart shows, in medians.
const MAX_SHOWN = 4;

const MIB = 1024 * 1024;
const STATES = ["connecting", "open", "closing", "closed"];
const HOW_TO_CLOSE = "From here, the code is 4000. The server is asked over HTTP; its code is 1001.";

/// By this the server knows which connection to ping.
const id = crypto.getRandomValues(new Uint16Array(1))[0];

const element = (name) => document.getElementById(name);

let socket;

// ---- the connection ----

function connect() {
  const url = new URL(`echo?id=${id}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", onOpen);
  socket.addEventListener("close", onClose);
  showState();
}

function onOpen() {
  showClose("", "", "");
  show("answer", HOW_TO_CLOSE);
  showState();
  measureRoundTrips(socket);
}

/// Chromium calls it clean only if all that the page gave it to send has left.
function onClose({ code, reason, wasClean }) {
  showClose(code, reason || "none", wasClean ? "yes" : "no");
  showState();
}

function closeFromHere() {
  socket.close(4000, "closed in the browser");
  showState();
}

async function askServerToClose() {
  show("answer", "The server was asked…");
  show("answer", `The server: ${await post("close")}`);
}

/// Asks the server for something, past the websocket. Returns its answer.
async function post(path) {
  try {
    const response = await fetch(path, { method: "POST" });
    return await response.text();
  } catch (error) {
    return error.message;
  }
}

// ---- bytes there and back ----

/// Random bytes, in an endless loop that is read in pieces. As its length is odd, two messages are
/// the same only after a long time.
const LOOP = 1024 * 1024 - 1;
const loop = new Uint8Array(LOOP + MESSAGE);
for (let at = 0; at < LOOP; at += MESSAGE) {
  crypto.getRandomValues(loop.subarray(at, at + MESSAGE));
}
loop.copyWithin(LOOP, 0, MESSAGE);

/// Bytes don't tell what they belong to, so there is one exchange at a time.
let turn = Promise.resolve();

function inTurn(job) {
  const result = turn.then(job);
  turn = result.catch(() => {});
  return result;
}

/// Sends `total` bytes and compares what comes back. Those need not be the messages that were sent:
/// to the server they are one stream of bytes, without borders.
function exchange(socket, total, onProgress = () => {}) {
  const first = Math.floor(Math.random() * LOOP);
  const start = performance.now();
  const sent = { bytes: 0, messages: 0, took: null };
  const received = { bytes: 0, messages: 0, took: null };
  const listening = new AbortController();
  let timer;

  /// Sends as much as the browser should buffer.
  function send() {
    if (socket.readyState !== WebSocket.OPEN) {
      return;
    }
    while (sent.bytes < total && socket.bufferedAmount < MAX_BUFFERED) {
      const at = (first + sent.bytes) % LOOP;
      const length = Math.min(MESSAGE, total - sent.bytes);
      socket.send(loop.subarray(at, at + length));
      sent.bytes += length;
      sent.messages += 1;
    }
    if (sent.bytes === total && socket.bufferedAmount === 0) {
      sent.took ??= performance.now() - start;
    }
  }

  function sendAll() {
    send();
    if (sent.took === null) {
      timer = setTimeout(sendAll, ROOM_PAUSE);
    }
  }

  function receive(bytes) {
    if (received.bytes + bytes.length > total) {
      throw new Error("More came back than was sent.");
    }
    const differs = firstDifference(bytes, (first + received.bytes) % LOOP);
    if (differs !== -1) {
      throw new Error(`Byte ${received.bytes + differs} is not what was sent.`);
    }
    received.bytes += bytes.length;
    received.messages += 1;
  }

  return new Promise((resolve, reject) => {
    const { signal } = listening;
    socket.addEventListener("message", ({ data }) => {
      try {
        receive(new Uint8Array(data));
      } catch (error) {
        socket.close(4001, "the echo differs");
        return reject(error);
      }
      send();
      const took = performance.now() - start;
      if (received.bytes === total) {
        received.took = took;
        sent.took ??= took;
        resolve({ sent, received });
      }
      onProgress({ total, took, sent, received });
    }, { signal });
    socket.addEventListener("close", () => {
      reject(new Error(`Closed when ${mib(received.bytes)} of ${mib(total)} had come back.`));
    }, { signal });
    if (socket.readyState !== WebSocket.OPEN) {
      return reject(new Error("Not connected."));
    }
    sendAll();
  }).finally(() => {
    clearTimeout(timer);
    listening.abort();
  });
}

/// Where `bytes` are not those of the loop from `at` on, or -1.
function firstDifference(bytes, at) {
  for (let i = 0; i < bytes.length; i += 1) {
    if (bytes[i] !== loop[at]) {
      return i;
    }
    at = at + 1 === LOOP ? 0 : at + 1;
  }
  return -1;
}

// ---- throughput ----

let transferring = false;

async function transfer(event) {
  event.preventDefault();
  const total = element("amount").valueAsNumber * MIB;
  transferring = true;
  showState();
  showVerdict("Sending…", "open");
  show("sent-rate", "");
  show("received-rate", "");
  try {
    const { sent, received } = await inTurn(() => exchange(socket, total, showProgress));
    showRates(total / sent.took, total / received.took);
    const messages = `${sent.messages} messages out, ${received.messages} back`;
    showVerdict(`All ${mib(total)} came back as they were sent: ${messages}.`, "good");
  } catch (error) {
    showVerdict(error.message, "bad");
  }
  transferring = false;
  showState();
}

function showProgress({ total, took, sent, received }) {
  element("progress").value = received.bytes / total;
  showRates((sent.bytes - socket.bufferedAmount) / (sent.took ?? took), received.bytes / took);
}

/// Both in bytes per ms.
function showRates(sent, received) {
  show("sent-rate", perSecond(sent));
  show("received-rate", perSecond(received));
}

function showVerdict(text, outcome) {
  show("verdict", text);
  element("verdict").dataset.outcome = outcome;
}

// ---- round trips ----

const trips = [];

async function measureRoundTrips(socket) {
  try {
    for (let i = 0; i < WARM_UP; i += 1) {
      await inTurn(() => exchange(socket, PROBE));
    }
    while (true) {
      await inTurn(() => measureRoundTrip(socket));
      await new Promise((resolve) => setTimeout(resolve, PROBE_PAUSE));
    }
  } catch {
    // the connection is closed, which is shown elsewhere
  }
}

async function measureRoundTrip(socket) {
  const { received } = await exchange(socket, PROBE);
  show("page-trip", received.took.toFixed(2));
  trips.push(received.took);
  trips.splice(0, trips.length - PROBES_SHOWN);
  showTrips();
  show("server-trip", await post(`ping?id=${id}`));
}

/// The newest at the right, the longest at the top, unless that would leave the others flat.
function showTrips() {
  if (trips.length < 2) {
    return;
  }
  const sorted = trips.toSorted((a, b) => a - b);
  const top = Math.min(sorted.at(-1), MAX_SHOWN * sorted[sorted.length >> 1]);
  const x = (i) => (PROBES_SHOWN - trips.length + i) / (PROBES_SHOWN - 1);
  const line = trips.map((trip, i) => `${x(i)},${1 - Math.min(trip / top, 1)}`);
  element("chart-line").setAttribute("points", line.join(" "));
  element("chart-area").setAttribute("points", [`${x(0)},1`, ...line, "1,1"].join(" "));
  const [low, high] = [sorted[0], sorted.at(-1)].map((trip) => trip.toFixed(2));
  show("trip-range", `The last ${trips.length} from the page took ${low} to ${high} ms.`);
}

// ---- what is shown ----

function show(name, text) {
  element(name).textContent = text;
}

function showState() {
  const state = STATES[socket.readyState];
  show("state", state);
  element("state").dataset.state = state;
  element("connect").disabled = state !== "closed";
  element("send").disabled = state !== "open" || transferring;
  element("close").disabled = state !== "open";
  element("ask-server").disabled = state !== "open";
}

function showClose(code, reason, clean) {
  show("close-code", code);
  show("close-reason", reason);
  show("close-clean", clean);
}

function mib(bytes) {
  return `${(bytes / MIB).toFixed(bytes % MIB ? 1 : 0)} MiB`;
}

/// A rate in bytes per ms, in MiB per second.
function perSecond(rate) {
  const value = (rate * 1000) / MIB;
  return value.toFixed(value < 99.95 ? 1 : 0);
}

element("connect").addEventListener("click", connect);
element("transfer").addEventListener("submit", transfer);
element("close").addEventListener("click", closeFromHere);
element("ask-server").addEventListener("click", askServerToClose);
connect();
