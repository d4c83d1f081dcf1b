// A web server as Node's first page shows it.
const http = require("node:http");

const server = http.createServer((request, response) => {
  response.setHeader("Content-Type", "text/plain");
  response.end(`node answers ${request.url}`);
});
server.listen(8080);
