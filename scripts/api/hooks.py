"""What schemathesis has to know about a Hersh host beyond its OpenAPI document.

Loaded by scripts/fuzz-api. Values that schemathesis makes up are kept; a valid id is exchanged for
one that is there, so that more than "not found" is seen of a route.
"""

import json
import os
import re
import zlib

import requests
import schemathesis

BASE = os.environ["HERSH_FUZZ_HOST"]
HEADERS = {"Authorization": "Bearer " + os.environ["HERSH_FUZZ_TOKEN"]}
USER = os.environ["HERSH_FUZZ_USER"]

# As the host is seeded: host/server/examples/seeded_host.rs.
PROGRAMS = [f"{USER}-{state}" for state in ("created", "starting", "ready", "stopped", "error")]
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
SPAN = re.compile(r"[0-9.]+ ?(d|h|m|s|ms)")

# The host answers 5xx for what is not its own fault. These are the problems that can arise here;
# any other 5xx, or one that is not a problem of that very status, fails.
NOT_OUR_FAULT = {
    "not_ready": 503,  # a program that does not run is asked for what only a running one has
    "queue_full": 503,  # the starting program takes no more commands
    "bad_gateway": 502,  # no program listens behind the proxy
    "wait_timed_out": 504,  # the starting program goes on starting
}


@schemathesis.hook
def filter_failure(ctx, failure, case, response):
    """Drops the failure that a 5xx is, if that 5xx is an announced problem, and that of a part of a
    program which is not there: one that was never started has no receipt, and few revisions."""
    if type(failure).__name__ == "EnsureResourceAvailability":
        parts = ("receipt", "compose", "source", "rollback")
        return case.operation.path not in [f"/programs/{{id}}/{part}" for part in parts]
    if type(failure).__name__ != "ServerError":
        return True
    if not response.headers.get("content-type", [""])[0].startswith("application/problem+json"):
        return True
    if case.method.upper() == "HEAD":  # no body tells the code
        return response.status_code not in NOT_OUR_FAULT.values()
    code = json.loads(response.content).get("code")
    return NOT_OUR_FAULT.get(code) != response.status_code


@schemathesis.hook
def before_call(ctx, case, kwargs):
    operation = (case.method.upper(), case.operation.path)
    # Ids of a sequence of calls come from the calls before.
    in_sequence = case.meta is not None and case.meta.phase.name.value == "stateful"
    bound_time(case)
    if operation == ("DELETE", "/programs/{id}") and in_sequence:
        case.query = {**(case.query or {}), "wait": "5s"}  # what is removed is gone for the next
    parameters = case.path_parameters or {}
    if is_label(parameters.get("id")):
        parameters["id"] = program(parameters["id"], operation, in_sequence)
    if is_label(parameters.get("user")):
        parameters["user"] = user(parameters["user"], operation)
    if operation == ("DELETE", "/tokens/{token}") and is_label(parameters.get("token")):
        parameters["token"] = new_token()


def bound_time(case):
    """Nobody waits long, and no answer goes on for ever: streams have tests of their own."""
    query = case.query or {}
    if str(query.get("follow")).lower() == "true":
        query["follow"] = "false"
    if isinstance(query.get("wait"), str) and SPAN.fullmatch(query["wait"]):
        query["wait"] = "50ms"


def is_label(text):
    return isinstance(text, str) and LABEL.fullmatch(text) is not None


def pick(text, among):
    return among[zlib.crc32(text.encode()) % len(among)]


def program(text, operation, in_sequence):
    """One that is there, mostly. What is removed is made first, so that the others stay."""
    if operation == ("DELETE", "/programs/{id}"):
        name = "removed" if text in PROGRAMS else text
        make("/programs", {"name": name, "dockerfile": "FROM scratch\n"})
        return name
    return text if in_sequence else pick(text, [*PROGRAMS, text])


def user(text, operation):
    """As with programs. The users who ask keep their role and quota, so that they can ask on."""
    if operation == ("DELETE", "/users/{user}"):
        name = "removed" if text in ("admin", "member") else text
        make("/users", {"user_id": name})
        return name
    if operation == ("PATCH", "/users/{user}"):
        make("/users", {"user_id": "changed"})
        return pick(text, ["changed", text]) if text not in ("admin", "member") else "changed"
    return pick(text, ["admin", "member", text])


def new_token():
    made = make("/tokens", {"scope": "read"})
    return made["token"]["token_id"] if made else "none"


def make(path, body):
    """The answer; None if it is there already or may not be made by this caller."""
    answer = requests.post(BASE + path, json=body, headers=HEADERS, timeout=10)
    return answer.json() if answer.ok else None
