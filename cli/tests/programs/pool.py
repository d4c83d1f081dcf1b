"""A web server that hands each request to a pool of processes: it needs semaphores in /dev/shm."""

from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with ProcessPoolExecutor(2) as pool:
            body = str(list(pool.map(abs, [-1, 2]))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    HTTPServer(("", 8080), Handler).serve_forever()
