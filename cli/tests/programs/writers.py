"""Four processes write to one SQLite database in WAL mode, and note what was committed.

Each start first compares the database with the notes of the starts before; what came of it is the
answer to every request.
"""

import http.server
import json
import os
import sqlite3

DATABASE = "/state/rows.db"
WRITERS = range(4)


def connect():
    database = sqlite3.connect(DATABASE, timeout=30, isolation_level=None)
    database.execute("pragma synchronous = full")
    return database


def notes(writer):
    return f"/state/committed.{writer}"


def compare():
    database = connect()
    database.execute("pragma journal_mode = wal")
    database.execute("create table if not exists rows(writer, number, unique(writer, number))")
    there = set(database.execute("select writer, number from rows"))
    noted = set()
    for writer in WRITERS:
        if os.path.exists(notes(writer)):
            with open(notes(writer)) as file:
                noted |= {(writer, int(line)) for line in file}
    (verdict,) = database.execute("pragma integrity_check").fetchone()
    database.close()
    return {"integrity": verdict, "noted": len(noted), "lost": len(noted - there)}


def write(writer):
    database = connect()
    (number,) = database.execute(
        "select coalesce(max(number), 0) from rows where writer = ?", (writer,)
    ).fetchone()
    file = os.open(notes(writer), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    while True:
        number += 1
        database.execute("insert into rows values(?, ?)", (writer, number))
        # One write of a line: the end of the process leaves the whole line or none of it.
        os.write(file, b"%d\n" % number)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


seen = compare()
starts = "/state/starts"
count = int(open(starts).read()) + 1 if os.path.exists(starts) else 1
with open(starts + ".new", "w") as file:
    file.write(str(count))
os.rename(starts + ".new", starts)
seen["starts"] = count
for writer in WRITERS:
    if os.fork() == 0:
        write(writer)
http.server.HTTPServer(("", 8080), Handler).serve_forever()
