"""A small HTTP service in Python that remembers its conversations over Mnemoq's HTTP API. Standard library only.

    MNEMOQ_URL=http://127.0.0.1:3000 MNEMOQ_KEY=… PORT=8080 python3 service.py
    curl -d '{"user":"ada","message":"Hello"}' http://127.0.0.1:8080/chat/tea
    curl -d '{"user":"ada","message":"Again"}' http://127.0.0.1:8080/chat/tea

answers, while `mnemoq api` and a chat worker run:

    {"reply": "You said Hello; 0 turns before."}
    {"reply": "You said Again; 1 turns before."}
"""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlencode
from urllib.request import Request, urlopen

URL = os.environ.get("MNEMOQ_URL", "http://127.0.0.1:3000")
KEY = os.environ.get("MNEMOQ_KEY", "")


def ask(path, body=None):
    """One request to Mnemoq; raises HTTPError with a problem (RFC 9457) as its body."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    if body is not None:
        # The answer is 200 when the turn can be read, so the next request certainly knows it. Without this it is 202, sooner.
        headers["Prefer"] = "wait=20"
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(URL + path, data, headers), timeout=30) as response:
        return json.load(response)


def chat(conversation, user, message):
    query = urlencode({"max_tokens": 1000, "user_id": user})
    recalled = ask(f"/memory/context/{quote(conversation, safe='')}/recent?{query}")
    reply = f"You said {message}; {len(recalled['items'])} turns before."
    turn = {"context_id": conversation, "user_id": user, "user_message": message, "assistant_message": reply}
    ask("/memory/chat", turn)
    return {"reply": reply}


class Service(BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = chat(unquote(self.path.removeprefix("/chat/")), asked["user"], asked["message"])
            self.answer(200, answer)
        except (KeyError, TypeError, ValueError):
            self.answer(400, {"error": "expected JSON with user and message"})
        except HTTPError as error:
            self.answer(error.code, {"error": json.load(error)["detail"]})
        except URLError:
            self.answer(503, {"error": "Mnemoq does not answer"})

    def answer(self, status, body):
        data = (json.dumps(body) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Service)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
server.server_close()
print("stopped", flush=True)
sys.exit(0)
