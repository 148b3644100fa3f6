"""The Gemini API of `onsight serve`, over sockets, with a scripted engine in place of a model.

ONSIGHT_SCRIPTED names the program (build/onsight_scripted).
"""
import base64
import hashlib
import http.client
import json
import os
import re
import socket
import stat
import subprocess
from pathlib import Path

import jsonschema
import pytest
from pictures import png

ROOT = Path(__file__).resolve().parents[2]
HELLO = {"contents": [{"parts": [{"text": "Hi"}]}]}


PICTURE = png(6, 4)
INLINE = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PICTURE).decode()}}


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.text = response.status, response.headers, response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)


class Server:
    def __init__(self, process, log):
        line = process.stderr.readline().decode()
        self.port = int(re.search(r":(\d+)$", line.strip()).group(1))
        self.process, self.log = process, log

    def __call__(self, method, path, body=None, headers=None):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, headers or {})
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def generate(self, body, method="generateContent", query=""):
        return self("POST", f"/v1beta/models/nano:{method}{query}", body)

    def requests(self):
        """What the engine was asked, without the estimate with which the server measures the machine."""
        return [json.loads(line) for line in self.log.read_text().splitlines()][1:]

    def upload(self, data=PICTURE, metadata=None, **headers):
        fields = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start",
                  "X-Goog-Upload-Header-Content-Type": "image/png"}
        if data is not None:
            fields["X-Goog-Upload-Header-Content-Length"] = str(len(data))
        return self("POST", "/upload/v1beta/files", metadata, {**fields, **headers})

    def go_on(self, url, command, data=b"", offset=None, **more):
        headers = {"X-Goog-Upload-Command": command, **more}
        if offset is not None:
            headers["X-Goog-Upload-Offset"] = str(offset)
        return self("POST", url.split(str(self.port), 1)[1], data, headers)

    def stored(self, data=PICTURE, metadata=None):
        url = self.upload(data, metadata).headers["X-Goog-Upload-URL"]
        done = self.go_on(url, "upload, finalize", data, 0)
        assert done.status == 200, done.text
        return done.json["file"]


@pytest.fixture
def serving(launch, tmp_path):
    """serving("--files", …, script={…}) -> Server, on a port of its own."""
    log = tmp_path / "requests.jsonl"
    return lambda *arguments, script=None, **variables: Server(
        launch(*arguments, script={"log": str(log), **(script or {})}, **variables), log)


@pytest.fixture
def server(serving):
    return serving()


def refused(answer, status, name, *words):
    assert answer.status == status, answer.text
    error = answer.json["error"]
    assert set(error) == {"code", "message", "status"} and error["code"] == status and error["status"] == name, error
    for word in words:
        assert word in error["message"], (word, error["message"])


def test_answers(server):
    answer = server.generate({
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [INLINE, {"text": "What?"}]},
                     {"role": "model", "parts": {"text": "A box."}},
                     {"parts": [{"inline_data": {"mime_type": "image/png", "data": INLINE["inlineData"]["data"]}}]}],
        "generationConfig": {"temperature": 0.5, "topK": 3.0, "topP": 0.9, "max_output_tokens": 7, "seed": 5,
                             "stopSequences": ["END"], "mediaResolution": "MEDIA_RESOLUTION_LOW",
                             "thinkingConfig": {"thinkingBudget": 0}, "responseModalities": ["TEXT"],
                             "presencePenalty": 0},
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "tools": []})
    assert answer.status == 200, answer.text
    out = answer.json
    assert out.pop("responseId")
    assert out == {"candidates": [{"content": {"parts": [{"text": "Seen."}], "role": "model"}, "index": 0,
                                   "finishReason": "STOP"}],
                   "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9},
                   "modelVersion": "nano"}
    [request] = server.requests()
    assert request["messages"] == [{"role": "system", "parts": ["Be brief."]},
                                   {"role": "user", "parts": ["<6x4>", "What?"]},
                                   {"role": "assistant", "parts": ["A box."]},
                                   {"role": "user", "parts": ["<6x4>"]}]
    assert request["temperature"] == 0.5 and request["top_k"] == 3 and abs(request["top_p"] - 0.9) < 1e-6
    assert request["max_tokens"] == 7 and request["seed"] == 5 and request["stop"] == ["END"]
    assert request["max_tiles"] == 1


def test_numbers_may_be_in_quotes(server):
    quoted = {"temperature": "0.5", "top_k": "3", "topP": "1", "maxOutputTokens": "5", "candidateCount": "1", "seed": "9007199254740993",
              "thinkingConfig": {"thinkingBudget": "0"}, "presencePenalty": "0", "stopSequences": ["5"]}
    assert server.generate({**HELLO, "generationConfig": quoted}).status == 200
    [request] = server.requests()
    assert (request["temperature"], request["top_k"], request["max_tokens"], request["seed"]) == (0.5, 3, 5, 9007199254740993)
    assert request["stop"] == ["5"]
    refused(server.generate({**HELLO, "generationConfig": {"maxOutputTokens": " 5"}}), 400, "INVALID_ARGUMENT", "maxOutputTokens")
    refused(server.generate({**HELLO, "generationConfig": {"temperature": "3"}}), 400, "INVALID_ARGUMENT", "temperature")
    refused(server.generate({**HELLO, "generationConfig": {"responseLogprobs": "true"}}), 400, "INVALID_ARGUMENT", "responseLogprobs")


def test_candidates_and_ends(server):
    out = server.generate({**HELLO, "generationConfig": {"candidateCount": 3, "maxOutputTokens": 1, "seed": 1}}).json
    assert [c["index"] for c in out["candidates"]] == [0, 1, 2]
    assert {c["finishReason"] for c in out["candidates"]} == {"MAX_TOKENS"}
    assert out["usageMetadata"]["candidatesTokenCount"] == 3
    assert [r["seed"] for r in server.requests()] == [1, 2, 3]


def test_logprobs(server):
    config = {"responseLogprobs": True, "logprobs": 2}
    [candidate] = server.generate({**HELLO, "generationConfig": config}).json["candidates"]
    assert candidate["avgLogprobs"] == -0.5
    chosen = candidate["logprobsResult"]["chosenCandidates"]
    assert chosen == [{"token": "Seen", "tokenId": 0, "logProbability": -0.5},
                      {"token": ".", "tokenId": 1, "logProbability": -0.5}]
    top = candidate["logprobsResult"]["topCandidates"]
    assert [len(step["candidates"]) for step in top] == [2, 2]
    del config["logprobs"]
    [candidate] = server.generate({**HELLO, "generationConfig": config}).json["candidates"]
    assert "topCandidates" not in candidate["logprobsResult"]


def test_events(server):
    answer = server.generate(HELLO, "streamGenerateContent", "?alt=sse")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    chunks = [json.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: ")]
    assert [c["candidates"][0]["content"]["parts"][0]["text"] for c in chunks] == ["Seen", ".", ""]
    assert [c["candidates"][0].get("finishReason") for c in chunks] == [None, None, "STOP"]
    assert [("usageMetadata" in c) for c in chunks] == [False, False, True]
    assert len({c["responseId"] for c in chunks}) == 1 and all(c["modelVersion"] == "nano" for c in chunks)


@pytest.mark.parametrize("query", ["", "?alt=json"])
def test_list_stream(server, query):
    answer = server.generate({**HELLO, "generationConfig": {"candidateCount": 2}}, "streamGenerateContent", query)
    assert answer.headers["Content-Type"] == "application/json"
    chunks = answer.json
    for index in (0, 1):
        own = [c["candidates"][0] for c in chunks if c["candidates"][0]["index"] == index]
        assert "".join(c["content"]["parts"][0]["text"] for c in own) == "Seen."
        assert own[-1]["finishReason"] == "STOP"
    assert ["usageMetadata" in c for c in chunks] == [False] * (len(chunks) - 1) + [True]
    refused(server.generate(HELLO, "streamGenerateContent", "?alt=media"), 400, "INVALID_ARGUMENT", "alt")


def test_stream_that_fails(serving):
    server = serving("--time-limit", 1, script={"delay_ms": 1500})
    for query in ("", "?alt=sse"):
        refused(server.generate(HELLO, "streamGenerateContent", query), 504, "DEADLINE_EXCEEDED")


def test_schema(server):
    schema = {"type": "OBJECT", "properties": {"total": {"type": "NUMBER"}}, "required": ["total"]}
    config = {"responseMimeType": "application/json", "response_schema": schema}
    assert server.generate({**HELLO, "generationConfig": config}).status == 200
    for name in ("responseJsonSchema", "_responseJsonSchema", "response_json_schema"):
        config = {"responseMimeType": "application/json", name: {"type": "object"}}
        assert server.generate({**HELLO, "generationConfig": config}).status == 200, name
    assert server.generate({**HELLO, "generationConfig": {"responseMimeType": "application/json"}}).status == 200


def test_enum(serving):
    server = serving(script={"pieces": [' "a', ' b"']})
    config = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a b", "c"]}}
    body = {**HELLO, "generationConfig": config}
    assert server.generate(body).json["candidates"][0]["content"]["parts"] == [{"text": "a b"}]
    [chunk] = server.generate(body, "streamGenerateContent").json
    assert chunk["candidates"][0]["content"]["parts"] == [{"text": "a b"}]


def config(**fields):
    return {**HELLO, "generationConfig": fields}


def parts(*list_of_parts):
    return {"contents": [{"parts": list(list_of_parts)}]}


JSON_TYPE = {"responseMimeType": "application/json"}
REFUSED = [
    ([], "object"), ({}, "contents"), ({"contents": []}, "contents"), ({"contents": [3]}, "contents[0]"),
    ({"contents": [{"parts": []}]}, "contents[0].parts"), ({"contents": [{"role": "user"}]}, "contents[0].parts"),
    ({"contents": [{"role": "tool", "parts": [{"text": "x"}]}]}, "contents[0].role"),
    (parts({}), "contents[0].parts[0]"), (parts({"text": 3}), "contents[0].parts[0].text"),
    (parts({"text": "a", **INLINE}), "one of text"), (parts({"txt": "a"}), "contents[0].parts[0].txt"),
    (parts({"functionCall": {"name": "f"}}), "functionCall"),
    (parts({"functionResponse": {"name": "f"}}), "functionResponse"),
    (parts({"executableCode": {"code": "f"}}), "executableCode"),
    (parts({"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}), "video"),
    (parts({**INLINE, "videoMetadata": {"fps": 1}}), "videoMetadata"),
    (parts({"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}), "audio/wav"),
    (parts({"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}}), "application/pdf"),
    (parts({"inlineData": {"data": "AAAA"}}), "mimeType"), (parts({"inlineData": {"mimeType": "image/png"}}), "data"),
    (parts({"inlineData": {"mimeType": "image/png", "data": "!!"}}), "contents[0].parts[0].inlineData.data"),
    (parts({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}), "contents[0].parts[0].inlineData.data"),
    (parts({"fileData": {"fileUri": "gs://bucket/x.png"}}), "fileData.fileUri"),
    (parts({"fileData": {"fileUri": "files/../../etc/passwd"}}), "fileData.fileUri"),
    (parts({"fileData": {"fileUri": "https://example.com/a.png"}}), "fileData.fileUri"),
    ({**HELLO, "tools": [{"googleSearch": {}}]}, "tools"), ({**HELLO, "toolConfig": {"a": 1}}, "toolConfig"),
    ({**HELLO, "cachedContent": "cachedContents/x"}, "cachedContent"), ({**HELLO, "other": 1}, "other"),
    ({**HELLO, "systemInstruction": "text"}, "systemInstruction"),
    ({**HELLO, "systemInstruction": {"parts": [INLINE]}}, "systemInstruction.parts[0].inlineData"),
    ({**HELLO, "systemInstruction": {"parts": [{"text": "x"}, {"text": "x", **INLINE}]}}, "systemInstruction.parts[1].inlineData"),
    ({**HELLO, "systemInstruction": {"parts": {"text": "x", "bogus": 1}}}, "systemInstruction.parts.bogus"),
    ({**HELLO, "systemInstruction": {"parts": ["x"]}}, "systemInstruction.parts[0]"),
    ({**HELLO, "systemInstruction": {"parts": [{"functionCall": {"name": "f"}}]}}, "functionCall"),
    (config(temperature=3), "generationConfig.temperature"), (config(temperature="x"), "temperature"),
    (config(topP=2), "topP"), (config(topK=-1), "topK"), (config(topK=1.5), "topK"),
    (config(maxOutputTokens=0), "maxOutputTokens"), (config(candidateCount=9), "candidateCount"),
    (config(candidateCount=0), "candidateCount"), (config(stopSequences=["x"] * 6), "stopSequences"),
    (config(stopSequences=[""]), "stopSequences"), (config(stopSequences="x"), "stopSequences"),
    (config(presencePenalty=0.5), "presencePenalty"), (config(frequencyPenalty=-1), "frequencyPenalty"),
    (config(responseModalities=["AUDIO"]), "responseModalities"), (config(responseModalities=["IMAGE"]), "IMAGE"),
    (config(speechConfig={"voice": "x"}), "speechConfig"), (config(logprobs=2), "responseLogprobs"),
    (config(responseLogprobs=True, logprobs=21), "logprobs"), (config(mediaResolution="HUGE"), "mediaResolution"),
    (config(thinkingConfig={"thinkingBudget": 100}), "thinkingBudget"),
    (config(thinkingConfig={"thinkingBudget": -1}), "thinkingBudget"),
    (config(thinkingConfig={"thinkingLevel": "HIGH"}), "thinkingLevel"),
    (config(thinkingConfig={"includeThoughts": True}), "includeThoughts"),
    (config(responseMimeType="image/png"), "responseMimeType"), (config(unknown=1), "generationConfig.unknown"),
    (config(topK=1, top_k=2), "topK"), (config(responseSchema={"type": "STRING"}), "responseMimeType"),
    (config(**JSON_TYPE, responseSchema={"type": "X"}), "generationConfig.responseSchema.type"),
    (config(**JSON_TYPE, responseSchema={"type": "STRING", "surprise": 1}), "surprise"),
    (config(**JSON_TYPE, responseSchema={"type": "STRING"}, responseJsonSchema={}), "responseJsonSchema"),
    (config(**JSON_TYPE, responseJsonSchema={"not": {}}), "not"), (config(**JSON_TYPE, stopSequences=["x"]), "stop"),
    (config(responseMimeType="text/x.enum"), "enum"),
    (config(responseMimeType="text/x.enum", responseSchema={"type": "INTEGER", "enum": [1]}), "enum"),
]


@pytest.mark.parametrize("body, word", REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_refuses(server_of_all, body, word):
    for method in ("generateContent", "streamGenerateContent"):
        refused(server_of_all.generate(body, method), 400, "INVALID_ARGUMENT", word)


@pytest.fixture(scope="module")
def server_of_all(tmp_path_factory):
    """One for tests that leave nothing behind."""
    folder = tmp_path_factory.mktemp("all")
    (folder / "nano").mkdir()
    binary = Path(os.environ.get("ONSIGHT_SCRIPTED", ROOT / "build" / "onsight_scripted")).resolve()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ONSIGHT_")}
    process = subprocess.Popen([binary, "serve", "--model", folder / "nano", "--port", "0"],
                               env={**environment, "TMPDIR": str(folder)}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    yield Server(process, folder / "log")
    process.kill()
    process.wait()
    process.stderr.close()


def test_refuses_paths_and_bodies(server_of_all):
    server = server_of_all
    refused(server.generate("{"), 400, "INVALID_ARGUMENT", "JSON")
    refused(server("POST", "/v1beta/models/other:generateContent", HELLO), 404, "NOT_FOUND", "models/other")
    refused(server("POST", "/v1/models/other:generateContent", HELLO), 404, "NOT_FOUND", "models/other")
    refused(server("POST", "/v1beta/models/other:countTokens", HELLO), 404, "NOT_FOUND", "models/other")
    refused(server("GET", "/v1beta/models/other"), 404, "NOT_FOUND", "models/other")
    refused(server("GET", "/v1beta/nothing"), 404, "NOT_FOUND", "/v1beta/nothing")
    wrong = server("DELETE", "/v1beta/models")
    refused(wrong, 404, "NOT_FOUND", "GET")
    assert wrong.headers["Allow"] == "GET, HEAD, OPTIONS"
    refused(server("PATCH", "/upload/v1beta/files/x"), 404, "NOT_FOUND")
    refused(server("GET", "/upload/v1beta/nothing"), 404, "NOT_FOUND")
    for path in ("models/nano:embedContent", "models/nano:batchEmbedContents", "cachedContents"):
        refused(server("POST", "/v1beta/" + path, {}), 501, "UNIMPLEMENTED", path)
    refused(server("POST", "/v1/models/nano:predict", {}), 501, "UNIMPLEMENTED", "nano:predict")
    refused(server("GET", "/v1beta/cachedContents"), 501, "UNIMPLEMENTED")
    refused(server("POST", "/v1beta/files", {}), 400, "INVALID_ARGUMENT", "/upload/v1beta/files")
    refused(server.generate(parts({"fileData": {"fileUri": "files/nobody"}})), 403, "PERMISSION_DENIED", "files/nobody")
    assert server("POST", "/v1/models/nano:generateContent", HELLO).status == 200


def test_busy(serving):
    server = serving(script={"queued": 0})
    refused(server.generate(HELLO), 429, "RESOURCE_EXHAUSTED")


def test_no_memory(serving):
    refused(serving(script={"fail": "there is no room", "code": 2}).generate(HELLO), 503, "UNAVAILABLE", "no room")


def test_key(serving):
    server = serving("--api-key", "secret")
    path = "/v1beta/models/nano:generateContent"
    for path in (path, "/v1/models/nano:generateContent", "/upload/v1beta/files"):
        missing, wrong = server("POST", path, HELLO), server("POST", path, HELLO, {"x-goog-api-key": "wrong"})
        refused(missing, 403, "PERMISSION_DENIED", "API key")
        refused(wrong, 400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")
        assert "WWW-Authenticate" not in missing.headers and "WWW-Authenticate" not in wrong.headers
    refused(server("GET", "/v1beta/files"), 403, "PERMISSION_DENIED")
    refused(server("GET", "/v1beta/files?key=wrong"), 400, "INVALID_ARGUMENT", "API key not valid")
    refused(server("GET", "/upload/nothing"), 403, "PERMISSION_DENIED")
    path = "/v1beta/models/nano:generateContent"
    assert server("POST", path, HELLO, {"x-goog-api-key": "secret"}).status == 200
    assert server("POST", path + "?key=secret", HELLO).status == 200
    # Who began an upload goes on with it without the key, and nobody else can.
    started = server.upload(**{"x-goog-api-key": "secret"})
    done = server.go_on(started.headers["X-Goog-Upload-URL"], "upload, finalize", PICTURE, 0)
    assert done.status == 200 and done.headers["X-Goog-Upload-Status"] == "final"
    guess = server("POST", "/upload/v1beta/files/guess", b"", {"X-Goog-Upload-Command": "query"})
    refused(guess, 404, "NOT_FOUND", "the upload")
    assert guess.headers["X-Goog-Upload-Status"] == "cancelled"


def test_counts(server):
    out = server("POST", "/v1beta/models/nano:countTokens", parts(INLINE, {"text": "Hi"})).json
    assert out["totalTokens"] == sum(d["tokenCount"] for d in out["promptTokensDetails"]) > 0
    assert out["promptTokensDetails"][0]["modality"] == "TEXT"
    nested = {"generateContentRequest": {"model": "models/nano", "systemInstruction": {"parts": [{"text": "x"}]}, **HELLO}}
    assert server("POST", "/v1beta/models/nano:countTokens", nested).status == 200
    for body in ({}, {**HELLO, **nested}, {"generateContentRequest": 3}, {**HELLO, "tools": [1]}):
        refused(server("POST", "/v1beta/models/nano:countTokens", body), 400, "INVALID_ARGUMENT")
    nested["generateContentRequest"]["model"] = "models/other"
    refused(server("POST", "/v1beta/models/nano:countTokens", nested), 404, "NOT_FOUND", "models/other")


def test_models(serving):
    server = serving("--name", "gemini-2.0-flash")
    names = [m["name"] for m in server("GET", "/v1beta/models").json["models"]]
    assert names == ["models/nano", "models/gemini-2.0-flash"]
    first = server("GET", "/v1beta/models?pageSize=1").json
    second = server("GET", "/v1beta/models?pageSize=1&pageToken=" + first["nextPageToken"]).json
    assert [m["name"] for m in first["models"] + second["models"]] == names and "nextPageToken" not in second
    refused(server("GET", "/v1beta/models?pageToken=x"), 400, "INVALID_ARGUMENT", "pageToken")
    model = server("GET", "/v1beta/models/nano").json
    assert model["supportedGenerationMethods"] == ["generateContent", "countTokens"] and model["outputTokenLimit"] == 4096
    assert server("POST", "/v1beta/models/gemini-2.0-flash:generateContent", HELLO).json["modelVersion"] == "gemini-2.0-flash"


def test_an_answer_is_no_longer_than_the_context(serving):
    model = serving(script={"context": 1024})("GET", "/v1beta/models/nano").json
    assert (model["inputTokenLimit"], model["outputTokenLimit"]) == (1024, 1024)


def test_first_version(server):
    """Of the paths that OpenAI's API has too, those of a Gemini client are told by its header."""
    google = {"x-goog-api-key": "x"}
    assert server("GET", "/v1/models", headers=google).json == server("GET", "/v1beta/models").json
    assert server("GET", "/v1/models").json["object"] == "list"
    assert server("GET", "/v1/models/nano", headers=google).json["name"] == "models/nano"
    refused(server("GET", "/v1/models/other", headers=google), 404, "NOT_FOUND", "models/other")
    refused(server("GET", "/v1/nothing", headers=google), 404, "NOT_FOUND")
    for path in ("/v1/batches", "/v1beta/batches"):
        refused(server("GET", path, headers=google), 501, "UNIMPLEMENTED")
    assert server("GET", "/v1/nothing").json["error"]["type"] == "invalid_request_error"
    for method in ("generateContent", "streamGenerateContent", "countTokens"):
        assert server("POST", "/v1/models/nano:" + method, HELLO).status == 200
    file = server.stored()
    assert server("GET", "/v1/" + file["name"], headers=google).json == file
    assert server("GET", "/v1/files", headers=google).json == {"files": [file]}
    assert server("DELETE", "/v1/" + file["name"], headers=google).json == {}
    assert "type" in server("GET", "/v1/files").json["error"]
    assert server("POST", "/upload/v1/files", PICTURE, {"X-Goog-Upload-Protocol": "raw"}).status == 200
    begun = server("POST", "/upload/v1/files", b"{}", {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"})
    path = "/upload/v1/files/" + begun.headers["x-goog-upload-url"].rsplit("/", 1)[1]
    assert server("POST", path, PICTURE, {"X-Goog-Upload-Command": "upload, finalize"}).json["file"]["sizeBytes"] == str(len(PICTURE))


def test_uploads(server):
    file = server.stored(metadata={"file": {"display_name": "A box"}})
    assert re.fullmatch(r"files/[a-z0-9]{12}", file["name"])
    assert file["displayName"] == "A box" and file["mimeType"] == "image/png" and file["sizeBytes"] == str(len(PICTURE))
    assert base64.b64decode(file["sha256Hash"]) == hashlib.sha256(PICTURE).digest()
    assert file["uri"] == f"http://127.0.0.1:{server.port}/v1beta/{file['name']}" and file["state"] == "ACTIVE"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", file["expirationTime"])
    assert server("GET", "/v1beta/" + file["name"]).json == file
    assert server("GET", "/v1beta/files").json == {"files": [file]}
    for uri in (file["uri"], file["name"], "https://generativelanguage.googleapis.com/v1beta/" + file["name"]):
        answer = server.generate(parts({"file_data": {"file_uri": uri, "mime_type": "image/png"}}, {"text": "What?"}))
        assert answer.status == 200, answer.text
    assert server.requests()[-1]["messages"] == [{"role": "user", "parts": ["<6x4>", "What?"]}]
    refused(server("GET", f"/v1beta/{file['name']}:download?alt=media"), 400, "INVALID_ARGUMENT", "generated")
    assert server("DELETE", "/v1beta/" + file["name"]).json == {}
    for method in ("GET", "DELETE"):
        refused(server(method, "/v1beta/" + file["name"]), 403, "PERMISSION_DENIED", file["name"])
    assert server("GET", "/v1beta/files").json == {}


def test_resumes(server):
    started = server.upload()
    url = started.headers["X-Goog-Upload-URL"]
    assert started.headers["X-Goog-Upload-Status"] == "active"
    assert url.startswith(f"http://127.0.0.1:{server.port}/upload/v1beta/files/")
    assert server.go_on(url, "upload", PICTURE[:20], 0).headers["X-Goog-Upload-Status"] == "active"
    # A connection that drops in the middle of a piece.
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(f"POST {url.split(str(server.port))[1]} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
                     "X-Goog-Upload-Command: upload\r\nX-Goog-Upload-Offset: 20\r\n\r\nhalf".encode())
    query = server.go_on(url, "query")
    assert query.headers["X-Goog-Upload-Status"] == "active" and query.headers["X-Goog-Upload-Size-Received"] == "20"
    wrong = server.go_on(url, "upload", b"xx", 10)
    refused(wrong, 400, "INVALID_ARGUMENT", "X-Goog-Upload-Offset")
    assert wrong.headers["X-Goog-Upload-Status"] == "active" and wrong.headers["X-Goog-Upload-Size-Received"] == "20"
    refused(server.go_on(url, "upload, finalize", b"xx", 20), 400, "INVALID_ARGUMENT", f"{len(PICTURE)} bytes")
    refused(server.go_on(url, "upload", b"xx", "1x"), 400, "INVALID_ARGUMENT", "X-Goog-Upload-Offset")
    refused(server.go_on(url, "surprise"), 400, "INVALID_ARGUMENT", "X-Goog-Upload-Command")
    done = server.go_on(url, "upload, finalize", PICTURE[20:], 20)
    assert done.headers["X-Goog-Upload-Status"] == "final"
    # The answer may be lost too.
    assert server.go_on(url, "query").json == done.json
    assert server.go_on(url, "upload, finalize", PICTURE[20:], 20).json == done.json
    assert base64.b64decode(done.json["file"]["sha256Hash"]) == hashlib.sha256(PICTURE).digest()


def test_finalizes_apart(server):
    url = server.upload(data=None).headers["X-Goog-Upload-URL"]
    assert server.go_on(url, "upload", PICTURE).status == 200
    assert server.go_on(url, "finalize").json["file"]["sizeBytes"] == str(len(PICTURE))


def test_cancels(server):
    url = server.upload().headers["X-Goog-Upload-URL"]
    assert server.go_on(url, "cancel").headers["X-Goog-Upload-Status"] == "cancelled"
    for command in ("query", "cancel", "upload", "upload, finalize"):
        answer = server.go_on(url, command, b"x", 0)
        refused(answer, 404, "NOT_FOUND")
        assert answer.headers["X-Goog-Upload-Status"] == "cancelled"


def test_other_protocols(server):
    raw = server("POST", "/upload/v1beta/files", PICTURE, {"X-Goog-Upload-Protocol": "raw", "Content-Type": "image/png"})
    assert raw.json["file"]["mimeType"] == "image/png"
    body = (b'--x\r\nContent-Type: application/json\r\n\r\n{"file": {"name": "files/mine"}}\r\n--x\r\n'
            b"Content-Type: image/png\r\n\r\n" + PICTURE + b"\r\n--x--\r\n")
    headers = {"X-Goog-Upload-Protocol": "multipart", "Content-Type": "multipart/related; boundary=x"}
    file = server("POST", "/upload/v1beta/files", body, headers).json["file"]
    assert file["name"] == "files/mine" and file["mimeType"] == "image/png" and file["sizeBytes"] == str(len(PICTURE))
    refused(server("POST", "/upload/v1beta/files", body, headers), 409, "ALREADY_EXISTS", "files/mine")
    refused(server("POST", "/upload/v1beta/files", body[:50], headers), 400, "INVALID_ARGUMENT", "boundary")
    refused(server("POST", "/upload/v1beta/files", PICTURE), 400, "INVALID_ARGUMENT", "X-Goog-Upload-Protocol")
    refused(server("POST", "/upload/v1beta/files", b"", {"X-Goog-Upload-Protocol": "resumable"}), 400, "INVALID_ARGUMENT",
            "X-Goog-Upload-Command")


@pytest.mark.parametrize("name", ["../x", "files/../x", "/etc/passwd", "files/a/b", "files/A", "files/.x", "files/-", "files/",
                                  "files/" + "a" * 41, "files/a\u0000b"])
def test_names_stay_inside(server_of_all, name):
    refused(server_of_all.upload(metadata={"file": {"name": name}}), 400, "INVALID_ARGUMENT", "file.name")


def test_odd_metadata(server_of_all):
    upload = server_of_all.upload
    assert upload(metadata="{'file': {'display_name': 'TEXT'}}").status == 200  # as in examples of the original
    for metadata in ("{", {"file": 3}, {"files": {}}, {"file": {"surprise": 1}}, {"file": {"mimeType": "png"}},
                     {"file": {"displayName": "x" * 513}}):
        refused(upload(metadata=metadata), 400, "INVALID_ARGUMENT")
    refused(upload(**{"X-Goog-Upload-Header-Content-Length": "-1"}), 400, "INVALID_ARGUMENT", "Content-Length")


@pytest.mark.parametrize("path", ["/v1beta/files/..", "/v1beta/files/%2e%2e", "/v1beta/files/..%2f..%2fetc", "/v1beta/files/a%00",
                                  "/v1beta/files/nano.onsight-file"])
def test_paths_stay_inside(server_of_all, path):
    for method in ("GET", "DELETE"):
        assert server_of_all(method, path).status in (400, 403, 404, 405)


def test_file_that_is_no_picture(server):
    file = server.stored(b"no picture")
    refused(server.generate(parts({"fileData": {"fileUri": file["uri"]}})), 400, "INVALID_ARGUMENT", "fileUri")
    video = server.stored(b"video", {"file": {"mimeType": "video/mp4"}})
    refused(server.generate(parts({"fileData": {"fileUri": video["uri"]}})), 400, "INVALID_ARGUMENT", "video")


def test_pages_of_files(server):
    names = [server.stored()["name"] for _ in range(3)]
    first = server("GET", "/v1beta/files?pageSize=2").json
    second = server("GET", "/v1beta/files?pageSize=2&pageToken=" + first["nextPageToken"]).json
    assert [f["name"] for f in first["files"] + second["files"]] == names and "nextPageToken" not in second


def test_limit_of_files(serving):
    server = serving("--files-limit", "1K")
    refused(server.upload(b"x" * 1025), 413, "RESOURCE_EXHAUSTED", "1024")
    url = server.upload(data=None).headers["X-Goog-Upload-URL"]
    assert server.go_on(url, "upload", b"x" * 1000, 0).status == 200
    answer = server.go_on(url, "upload", b"x" * 100, 1000)
    refused(answer, 413, "RESOURCE_EXHAUSTED")
    assert answer.headers["X-Goog-Upload-Status"] == "cancelled"
    server.stored(b"x" * 1024)


def test_files_survive_a_restart(serving, tmp_path):
    folder = tmp_path / "made" / "files"
    server = serving("--files", folder)
    kept, damaged = server.stored(), server.stored()
    second = subprocess.run(server.process.args[:-2] + ["--files", folder], env={**os.environ, "ONSIGHT_SCRIPT": "{}"},
                            capture_output=True, timeout=30)
    assert second.returncode == 2 and b"another server uses it" in second.stderr
    server.process.terminate()
    assert server.process.wait(10) == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / (damaged["name"].removeprefix("files/") + ".onsight-file.json")).write_text("{")
    server = serving("--files", folder)
    [file] = server("GET", "/v1beta/files").json["files"]
    assert file["name"] == kept["name"] and file["sha256Hash"] == kept["sha256Hash"]
    assert file["expirationTime"] == kept["expirationTime"]


def test_private_files_go_at_the_end(serving, tmp_path):
    folder = tmp_path / "tmp"
    folder.mkdir()
    server = serving(TMPDIR=str(folder))
    assert not list(folder.iterdir())
    server.stored()
    [private] = folder.iterdir()
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    server.process.terminate()
    assert server.process.wait(10) == 0
    assert not list(folder.iterdir())


def test_described(server_of_all):
    paths = server_of_all("GET", "/openapi.json").json["paths"]
    assert "/v1beta/models/{model}:generateContent" in paths and "/upload/v1beta/files/{upload}" in paths
    server_of_all("POST", "/upload/v1beta/files")
    assert 'api="gemini",status="400"' in server_of_all("GET", "/metrics").text

    def parameters(path, method):
        return {(p["in"], p["name"]) for p in paths[path][method]["parameters"]}

    assert parameters("/v1beta/models/{model}:streamGenerateContent", "post") == {("path", "model"), ("query", "alt")}
    for path in ("/v1beta/models", "/v1beta/files", "/v1/models", "/v1/files"):
        assert parameters(path, "get") == {("query", "pageSize"), ("query", "pageToken")}, path
    start, go_on = paths["/upload/v1beta/files"]["post"], paths["/upload/v1beta/files/{upload}"]["post"]
    assert set(start["requestBody"]["content"]) == {"application/json", "multipart/related", "*/*"}
    assert set(go_on["requestBody"]["content"]) == {"application/octet-stream"}
    for name in ("Protocol", "Command", "Header-Content-Type", "Header-Content-Length"):
        assert ("header", "X-Goog-Upload-" + name) in parameters("/upload/v1beta/files", "post")
    assert ("header", "X-Goog-Upload-Offset") in parameters("/upload/v1beta/files/{upload}", "put")


def test_answers_are_as_described(server):
    paths = server("GET", "/openapi.json").json["paths"]

    def check(answer, path, method):
        described = paths[path][method]["responses"]["200"]
        schema = described["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json, schema)
        assert set(answer.json) <= set(schema.get("properties", {})), (path, answer.json)
        assert {h.lower() for h in answer.headers if h.startswith("X-Goog")} <= {h.lower() for h in described.get("headers", {})}
        return answer

    url = check(server.upload(metadata={"file": {"display_name": "A box"}}), "/upload/v1beta/files", "post").headers["X-Goog-Upload-URL"]
    check(server.go_on(url, "upload", PICTURE[:5], 0), "/upload/v1beta/files/{upload}", "post")
    file = check(server.go_on(url, "upload, finalize", PICTURE[5:], 5), "/upload/v1beta/files/{upload}", "post").json["file"]
    check(server("GET", "/v1beta/files?pageSize=1"), "/v1beta/files", "get")
    check(server("GET", "/v1beta/" + file["name"]), "/v1beta/files/{name}", "get")
    check(server("DELETE", "/v1beta/" + file["name"]), "/v1beta/files/{name}", "delete")
    check(server("GET", "/v1beta/models?pageSize=1"), "/v1beta/models", "get")
