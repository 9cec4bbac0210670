// A client of the example `axum`: it sends lines to a TCP service, and shows what that says.

const STATES = ["connecting", "open", "closing", "closed"];

const element = (name) => document.getElementById(name);

let socket;

// ---- the connection ----

function connect() {
  const url = new URL("service", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  socket = new WebSocket(url, "bytes");
  socket.binaryType = "arraybuffer";
  // messages have no meaning here: a character may begin in one and end in the next
  const decoder = new TextDecoder();
  socket.addEventListener("open", onOpen);
  socket.addEventListener("message", ({ data }) => onBytes(data, decoder));
  socket.addEventListener("close", onClose);
  showState();
}

function onOpen() {
  element("received").textContent = "";
  show("sent-bytes", 0);
  show("received-bytes", 0);
  showClose("", "", "");
  showState();
}

function onBytes(bytes, decoder) {
  count("received-bytes", bytes.byteLength);
  append("answer", decoder.decode(bytes, { stream: true }));
}

/// 1006 stands for a connection that broke, or that the server refused.
function onClose({ code, reason, wasClean }) {
  showClose(code, reason || "none", wasClean ? "yes" : "no");
  showState();
}

function send(event) {
  event.preventDefault();
  const line = `${element("text").value}\n`;
  const bytes = new TextEncoder().encode(line);
  // bytes, not text: the server refuses text messages
  socket.send(bytes);
  count("sent-bytes", bytes.byteLength);
  append("question", line);
  element("text").value = "";
}

function closeFromHere() {
  socket.close(4000, "closed in the browser");
  showState();
}

// ---- what is shown ----

function append(who, text) {
  const words = document.createElement("span");
  words.className = who;
  words.textContent = text;
  element("received").append(words);
  element("received").scrollTop = element("received").scrollHeight;
}

function show(name, text) {
  element(name).textContent = text;
}

function count(name, bytes) {
  show(name, Number(element(name).textContent) + bytes);
}

function showState() {
  const state = STATES[socket.readyState];
  show("state", state);
  element("state").dataset.state = state;
  element("connect").disabled = state !== "closed";
  element("send").disabled = state !== "open";
  element("close").disabled = state !== "open";
}

function showClose(code, reason, clean) {
  show("close-code", code);
  show("close-reason", reason);
  show("close-clean", clean);
}

element("connect").addEventListener("click", connect);
element("line").addEventListener("submit", send);
element("close").addEventListener("click", closeFromHere);
connect();
