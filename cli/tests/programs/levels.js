// Answers every request with its level, and every word on a WebSocket with its level and that word.
const crypto = require("crypto");
const http = require("http");

const level = process.env.LEVEL;
const server = http.createServer((request, response) => response.end(level));

server.on("upgrade", (request, socket) => {
  const magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const key = request.headers["sec-websocket-key"];
  const accept = crypto.createHash("sha1").update(key + magic).digest("base64");
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  let came = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (piece) => {
    came = Buffer.concat([came, piece]);
    // Every frame of this test is short and masked: two bytes, four of the mask, the payload.
    while (came.length >= 6 && came.length >= 6 + (came[1] & 127)) {
      const length = came[1] & 127;
      const mask = came.subarray(2, 6);
      const word = came.subarray(6, 6 + length).map((byte, at) => byte ^ mask[at % 4]);
      const isText = (came[0] & 15) === 1;
      came = came.subarray(6 + length);
      if (isText) {
        const answer = Buffer.from(`${level} ${Buffer.from(word)}`);
        socket.write(Buffer.concat([Buffer.from([0x81, answer.length]), answer]));
      }
    }
  });
});

server.listen(8080);
