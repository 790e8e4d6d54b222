"""Answers as an EC2 instance's metadata service does (IMDSv2): who asks is known by the address it asks from.

`python metadata.py ADDRESS STATE` serves port 80 of ADDRESS; STATE is a JSON file that is read for each answer:
{"role": NAME, "credentials": {…}, "spot": {IP: {"action": "terminate", "time": …}}}.
Source of the paths: the EC2 user guide, "Instance metadata categories" and "Spot Instance interruption notices".
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

_ROLES: Final = "/latest/meta-data/iam/security-credentials/"


def answer(path: str, asker: str, state: dict[str, Any]) -> str | None:
    """The body for a path, or None: there is no such thing."""
    notice = state["spot"].get(asker)
    found = {
        "/latest/": "alive",
        "/latest/meta-data/placement/region": "us-east-1",
        "/latest/meta-data/spot/instance-action": json.dumps(notice) if notice else None,
    }
    if role := state.get("role"):
        found |= {_ROLES: role, f"{_ROLES}{role}": json.dumps(state["credentials"])}
    return found.get(path)


class _Handler(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        self._send("token" if self.path == "/latest/api/token" else None)

    def do_GET(self) -> None:
        state = json.loads(Path(sys.argv[2]).read_text())
        self._send(answer(self.path, self.client_address[0], state))

    def _send(self, body: str | None) -> None:
        data = (body or "").encode()
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], 80), _Handler).serve_forever()
