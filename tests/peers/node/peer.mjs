// A peer made of `ws`: one conversation, as a client or as a server. Says what it sees.
//
//     peer.mjs connect URL SCENE [ARGUMENT...]
//     peer.mjs serve SCENE [ARGUMENT...]
//
// With an `https` URL, it asks over HTTP/2 (RFC 8441), whoever made the certificate. Every limit is the
// default. With `--pings` before the rest, it sends twenty pings a second and leaves when none of them is
// answered for long. OPTIONS are those of `ws` for its client, in JSON, and `protocols`; over HTTP/2,
// `headers` and `protocols` only. TOOLS is where its modules are installed.

import { once } from "node:events";
import * as http2 from "node:http2";
import { createRequire } from "node:module";
import { setImmediate } from "node:timers/promises";
import { promisify } from "node:util";

const require = createRequire(`${process.env.TOOLS}/`);
const { WebSocket, WebSocketServer } = require("ws");
const { blake3 } = require("@noble/hashes/blake3");

const MIB = 1024 * 1024;

/// Both in ms.
const PING_PAUSE = 50;
const PING_TIMEOUT = 10_000;

const say = (...words) => console.log(...words);

/// Bytes that the other side can make too, in messages of at most 1 MiB.
function* pieces(total) {
  const source = blake3.create({}).update(Buffer.from("theirs"));
  for (let start = 0; start < total; start += MIB) {
    yield Buffer.from(source.xof(Math.min(MIB, total - start)));
  }
}

/// Resolves when the message has left.
async function send(ws, data, options = {}) {
  await promisify(ws.send.bind(ws))(data, options);
  // or node may never come to read, while there is room to write
  await setImmediate();
}

const scenes = {
  /// Sends as many bytes as it receives, both at once.
  async exchange(ws, total) {
    const hash = blake3.create({});
    let length = 0;
    ws.on("message", (data) => {
      hash.update(data);
      length += data.length;
      if (length >= Number(total)) {
        say("received", Buffer.from(hash.digest()).toString("hex"));
      }
    });
    for (const piece of pieces(Number(total))) {
      await send(ws, piece);
    }
  },

  async message(ws, length) {
    await send(ws, Buffer.concat([...pieces(Number(length))]));
  },

  /// One message, in frames of at most 1 MiB.
  async fragments(ws, length) {
    for (const piece of pieces(Number(length))) {
      await send(ws, piece, { fin: false });
    }
    await send(ws, Buffer.alloc(0));
  },

  async text(ws, words) {
    await send(ws, words);
  },

  async listen(ws) {
    let largest = 0;
    ws.on("message", (data) => (largest = Math.max(largest, data.length)));
    ws.on("close", () => say("largest", largest));
  },

  /// Does not even read.
  async sleep(ws) {
    ws.pause();
  },

  /// Sends, and closes right behind that.
  async upload(ws, total) {
    for (const piece of pieces(Number(total))) {
      await send(ws, piece);
    }
    ws.close(1000, "that was all");
  },

  /// Sends until the other side closes.
  async flood(ws) {
    const piece = Buffer.alloc(MIB);
    while (ws.readyState === WebSocket.OPEN) {
      await send(ws, piece);
    }
  },

  /// Resets what carries it.
  async terminate(ws) {
    ws.terminate();
  },

  async close(ws, code, reason) {
    ws.close(code && Number(code), reason);
  },

  /// Closes while both sides send.
  async close_amid(ws, code, reason) {
    let messages = 0;
    ws.on("message", () => {
      messages += 1;
      if (messages === 100) {
        ws.close(Number(code), reason);
      }
    });
    await scenes.flood(ws);
  },
};

function sendPings(ws) {
  let lastPong = Date.now();
  let pongs = 0;
  ws.on("pong", () => {
    lastPong = Date.now();
    pongs += 1;
  });
  ws.ping(); // a transfer may be over before the first one is due
  const timer = setInterval(() => {
    if (Date.now() - lastPong > PING_TIMEOUT) {
      return ws.terminate();
    }
    ws.ping();
  }, PING_PAUSE);
  ws.on("close", () => {
    clearInterval(timer);
    say(pongs > 0 ? "pings were answered" : "no ping was answered");
  });
}

function converse(ws, scene, scripted) {
  say("protocol", ws.protocol || "none");
  say("extensions", ws.extensions || "none");
  if (pings) {
    sendPings(ws);
  }
  ws.on("error", (error) => say("error", error.message));
  // a message that was cut off is told by the close code
  scenes[scene](ws, ...scripted).catch((error) => say("error", error.message));
  ws.on("close", (code, reason) => {
    say("closed", code, reason.toString());
    server?.close();
  });
}

function converseOverHttp1(url, { protocols, ...options }, scene, scripted) {
  const ws = new WebSocket(url, protocols, options);
  ws.on("unexpected-response", (request, { statusCode, headers }) => {
    say("refused", statusCode, headers["sec-websocket-version"] ?? "");
    process.exit();
  });
  // what the server sends at once must not be missed
  ws.on("open", () => converse(ws, scene, scripted));
}

/// Has a websocket in a stream of HTTP/2. `ws` makes the frames, but does not ask for it.
async function converseOverHttp2(url, { protocols, headers }, scene, scripted) {
  const session = http2.connect(url, { rejectUnauthorized: false });
  // not before the server has offered it
  const [{ enableConnectProtocol }] = await once(session, "remoteSettings");
  say("extended CONNECT is", enableConnectProtocol ? "offered" : "not offered");
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":path": new URL(url).pathname,
    "sec-websocket-version": 13,
    ...(protocols && { "sec-websocket-protocol": protocols.join(", ") }),
    ...headers,
  });
  const [response] = await once(stream, "response");
  if (response[":status"] !== 200) {
    say("refused", response[":status"], response["sec-websocket-version"] ?? "");
    process.exit();
  }
  const ws = new WebSocket(null, undefined, { autoPong: true, closeTimeout: 30_000 });
  ws._isServer = false; // it takes itself for a server, as it did not ask
  ws._protocol = response["sec-websocket-protocol"] ?? "";
  ws.setSocket(stream, Buffer.alloc(0), {});
  ws.on("close", () => session.close());
  converse(ws, scene, scripted);
}

const words = process.argv.slice(2);
const pings = words[0] === "--pings" && words.shift();
let server;
if (words.shift() === "connect") {
  const [url, scene, ...scripted] = words;
  const options = JSON.parse(process.env.OPTIONS ?? "{}");
  if (url.startsWith("https:")) {
    await converseOverHttp2(url, options, scene, scripted);
  } else {
    converseOverHttp1(url, options, scene, scripted);
  }
} else {
  const [scene, ...scripted] = words;
  server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  server.on("listening", () => say("listening on", server.address().port));
  server.on("connection", (ws) => converse(ws, scene, scripted));
}
