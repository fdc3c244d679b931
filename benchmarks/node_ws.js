// npm's ws with npm's erlang_js, or without decoding: node node_ws.js URL COUNT [decode]
// Prints events a second from the first message to the last.
const WebSocket = require("ws");
const { Erlang } = require("erlang_js");

const [url, count, decode] = process.argv.slice(2);
const total = Number(count) + 2;
let left = total, first = 0n, failure = null;

const socket = new WebSocket(url, { perMessageDeflate: false });
socket.on("message", (data) => {
  if (left === total) first = process.hrtime.bigint();
  if (decode) Erlang.binary_to_term(data, (error) => { failure = failure || error; });
  if (--left === 0) {
    const seconds = Number(process.hrtime.bigint() - first) / 1e9;
    console.log(JSON.stringify(failure ? { failure: String(failure) } : { figure: (total - 1) / seconds }));
    socket.terminate();
  }
});
