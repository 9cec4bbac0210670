// A peer made of `ws`: one conversation, as a client or as a server. Says what it sees.
//
//     peer.mjs connect URL SCENE [ARGUMENT...]
//     peer.mjs serve SCENE [ARGUMENT...]
//
// Every limit is the default. With `--pings` before the rest, it sends twenty pings a second and leaves
// when none of them is answered for long. OPTIONS are those of `ws` for its client, in JSON, and
// `protocols`. TOOLS is where its modules are installed.

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

const words = process.argv.slice(2);
const pings = words[0] === "--pings" && words.shift();
let server;
if (words.shift() === "connect") {
  const [url, scene, ...scripted] = words;
  const { protocols, ...options } = JSON.parse(process.env.OPTIONS ?? "{}");
  const ws = new WebSocket(url, protocols, options);
  ws.on("unexpected-response", (request, { statusCode, headers }) => {
    say("refused", statusCode, headers["sec-websocket-version"] ?? "");
    process.exit();
  });
  // what the server sends at once must not be missed
  ws.on("open", () => converse(ws, scene, scripted));
} else {
  const [scene, ...scripted] = words;
  server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  server.on("listening", () => say("listening on", server.address().port));
  server.on("connection", (ws) => converse(ws, scene, scripted));
}
