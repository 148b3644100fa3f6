"""A hub of models on this machine, with one model that is onsight-nano, and what its cache looks like."""
import hashlib
import http.server
import json
import re
import threading
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

NANO = Path(__file__).resolve().parents[2] / "models/onsight-nano"

COMMIT, OLDER = "0123456789abcdef0123456789abcdef01234567", "f" * 40
ID = "acme/Vision-1.0"
WEIGHTS, TEMPLATE = "model.safetensors", "additional_chat_templates/tool_use.jinja"
UNWANTED = {"pytorch_model.bin", "onnx/model.onnx"}


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    """A hub with one model. `trouble`: a function of (handler, file, bytes, first byte) that may answer in its own way and then returns True."""

    def __init__(self):
        self.files = {f.name: f.read_bytes() for f in NANO.iterdir() if f.is_file()}
        self.files["pytorch_model.bin"] = b"never"
        self.files["onnx/model.onnx"] = b"never"
        self.files[TEMPLATE] = b"{{ 'of another use' }}"
        self.large = {WEIGHTS}
        self.commits = {"main": COMMIT}
        self.sizes, self.asked, self.trouble, self.token = {}, [], None, None
        self.queries = [{"blobs": ["true"]}]
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                hub.answer(self)

            def do_HEAD(self):
                hub.answer_head(self)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def listing(self, commit):
        def entry(name, data):
            size = self.sizes.get(name, len(data))
            out = {"rfilename": name, "size": size, "blobId": git_sha1(data)}
            if name in self.large:
                out["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 134}
            return out

        return {"id": ID, "sha": commit, "siblings": [entry(*item) for item in sorted(self.files.items())]}

    def send(self, handler, status, body, **headers):
        handler.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(body)

    def send_file(self, handler, data, begin):
        if begin >= len(data) > 0:
            return self.send(handler, 416, b"", Content_Range=f"bytes */{len(data)}")
        headers = {"Content_Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if begin else {}
        self.send(handler, 206 if begin else 200, data[begin:], **headers)

    def answer(self, handler):
        url = urlsplit(handler.path)
        if self.token and handler.headers.get("Authorization") != f"Bearer {self.token}":
            return self.send(handler, 401, b'{"error": "Invalid username or password."}')
        found = re.fullmatch(rf"/api/models/{ID}/revision/([^/]+)", url.path)
        if found:
            self.asked.append(("list", unquote(found[1])))
            assert parse_qs(url.query) in self.queries
            if self.trouble and self.trouble(handler, "list", b"", 0):
                return None
            commit = self.commits.get(unquote(found[1]))
            body = json.dumps(self.listing(commit)).encode() if commit else b'{"error": "Invalid rev id"}'
            return self.send(handler, 200 if commit else 404, body)
        if re.fullmatch(rf"/api/models/{ID}/tree/[0-9a-f]{{40}}", url.path):  # as other clients ask
            rows = self.listing(COMMIT)["siblings"]
            large = [{"lfs": {"oid": r["lfs"]["sha256"], "size": r["size"], "pointerSize": 134}} if "lfs" in r else {} for r in rows]
            tree = [{"type": "file", "oid": r["blobId"], "size": r["size"], "path": r["rfilename"], **more} for r, more in zip(rows, large)]
            return self.send(handler, 200, json.dumps(tree).encode())
        found = re.fullmatch(rf"/{ID}/resolve/([0-9a-f]{{40}})/(.+)", url.path)
        if not found or "%2F" in found[2] or unquote(found[2]) not in self.files:
            return self.send(handler, 404, b"")
        name, data = unquote(found[2]), self.files[unquote(found[2])]
        range_ = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        begin = int(range_[1]) if range_ else 0
        self.asked.append((name, begin))
        if not (self.trouble and self.trouble(handler, name, data, begin)):
            self.send_file(handler, data, begin)
        return None

    def answer_head(self, handler):
        """What other clients of the hub ask before they fetch a file."""
        name = unquote(urlsplit(handler.path).path.split("/resolve/")[1].split("/", 1)[1])
        data = self.files[name]
        etag = {"X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": len(data)} if name in self.large else {}
        handler.send_response(200)
        for key, value in {"Content-Length": len(data), "ETag": f'"{git_sha1(data)}"', "X-Repo-Commit": self.commits["main"], **etag}.items():
            handler.send_header(key, str(value))
        handler.end_headers()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def variables(self, home, **more):
        """The environment of a program that asks this hub, with its cache in `home`."""
        return {"HF_HOME": str(home), "HF_ENDPOINT": self.url, "HF_TOKEN": "", "HF_HUB_CACHE": "", "HUGGINGFACE_HUB_CACHE": "", "HF_HUB_OFFLINE": "",
                "TRANSFORMERS_OFFLINE": "", "no_proxy": "*", **more}


def folder_of(home):
    return home / "hub" / ("models--" + ID.replace("/", "--"))
