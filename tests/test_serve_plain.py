"""`trunkline serve` as curl meets it, and the `text-generation` client of TGI's first years."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateways
from gateways import ANSWER, MESSAGE, World
from tgi_document import check

# Its last release; huggingface_hub 1 has taken away what it imports, so it lives in an environment of its own.
LEGACY = ("text-generation==0.7.0", "huggingface-hub<1")
# What pip says when no index answers.
UNREACHABLE = "after connection broken by"
GENERATE = {"inputs": MESSAGE, "parameters": {"details": True}}
CHAT = {"messages": [{"role": "user", "content": MESSAGE}]}
# Not its chat's streams: it demands `tool_calls` in each piece, which TGI's own document does not have.
SCRIPT = """
import asyncio, json, sys
from text_generation import AsyncClient, Client, errors

url, message = sys.argv[1:]
client = Client(url)
answer = client.generate(message, max_new_tokens=9, stop_sequences=["x"])
stream = list(client.generate_stream(message, seed=3, do_sample=True))
chat = client.chat(messages=[{"role": "user", "content": message}], max_tokens=9)


def refused(**asked):
    try:
        client.generate(message, **asked)
    except errors.ValidationError as error:
        return str(error)


async def later():
    found = AsyncClient(url)
    pieces = [piece.token.text async for piece in found.generate_stream(message)]
    return [(await found.generate(message)).generated_text, "".join(pieces)]


print(json.dumps({
    "generate": [answer.generated_text, answer.details.finish_reason.value, answer.details.generated_tokens],
    "tokens": [token.text for token in answer.details.tokens],
    "stream": ["".join(piece.token.text for piece in stream), stream[-1].generated_text, stream[-1].details.seed],
    "chat": [chat.choices[0].message.content, chat.usage["completion_tokens"]],
    "async": asyncio.run(later()),
    "refused": refused(best_of=2, do_sample=True),
}))
"""

curls = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed here")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with gateways.serving(tmp_path_factory.mktemp("world"), serve__gateway__keys=None) as running:
        yield running


def curl(world: World, path: str, *options: str, body: object = None, code: int = 0) -> str:
    """What curl prints; it must end with ``code``."""
    data = [] if body is None else ["--data-binary", "@-"]
    command = ["curl", "-sS", "--max-time", "60", *options, *data, world.url + path]
    done = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


@curls
def test_curl_without_any_header_gets_json(world):
    # As in the README: curl then calls the body a form.
    assert json.loads(curl(world, "/generate", "-d", '{"inputs": "my card is gone"}')) == {"generated_text": ANSWER}
    check(json.loads(curl(world, "/generate", body=GENERATE)), "GenerateResponse")
    check(json.loads(curl(world, "/v1/chat/completions", body=CHAT)), "ChatCompletion")
    check(json.loads(curl(world, "/info")), "Info")


@curls
@pytest.mark.parametrize(
    "options",
    [
        ("-H", "Content-Type: application/json"),
        ("-H", "Transfer-Encoding: chunked"),
        ("-H", "Expect: 100-continue"),
        ("--http1.0",),
        ("--compressed",),
        ("-H", "Connection: close"),
        ("--http2",),  # offered; the gateway stays with HTTP/1.1
    ],
    ids=" ".join,
)
def test_however_curl_sends_a_body_it_is_answered_whole_and_as_a_stream(world, options):
    assert json.loads(curl(world, "/generate", *options, body=GENERATE))["generated_text"] == ANSWER
    said = curl(world, "/generate_stream", "-N", *options, body=GENERATE)
    *events, end = said.split("\n\n")
    assert end == ""
    assert all(event.startswith("data:{") or event.startswith("data: {") for event in events)
    assert json.loads(events[-1].partition(":")[2])["generated_text"] == ANSWER
    chat = curl(world, "/v1/chat/completions", "-N", *options, body={**CHAT, "stream": True})
    assert chat.endswith("data: [DONE]\n\n")


@curls
def test_curl_sees_the_receipt_and_fails_where_it_is_told_to(world):
    head, _, body = curl(world, "/generate", "-i", body=GENERATE).partition("\n\n")
    assert head.startswith("HTTP/1.1 200")
    assert re.search(r"(?im)^x-trunkline-prediction: \S+$", head)
    assert json.loads(body)["generated_text"] == ANSWER
    assert curl(world, "/health", "-I", "-f").startswith("HTTP/1.1 200")
    assert curl(world, "/generate", "-f", body={"inputs": MESSAGE, "best_of": 2}, code=22) == ""
    assert curl(world, "/generate", "-f", "-X", "PUT", body=GENERATE, code=22) == ""


def install(folder: Path) -> Path:
    """The Python of an environment with the legacy client; skips where there is no package index."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin/python"
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--retries", "5", "--timeout", "15"]
    done = subprocess.run([*pip, *LEGACY], capture_output=True, text=True, check=False)
    if done.returncode and UNREACHABLE in done.stderr + done.stdout:
        pytest.skip("no package index can be reached to install the legacy client from")
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.slow
def test_the_legacy_text_generation_client_is_answered_as_by_tgi(world, tmp_path):
    python = install(tmp_path / "legacy")
    command = [python, "-W", "ignore", "-c", SCRIPT, world.url, MESSAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": ""}, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "best_of" in found.pop("refused")
    assert found == {
        "generate": [ANSWER, "eos_token", 3],
        "tokens": world.stable.says,
        "stream": [ANSWER, ANSWER, 3],
        "chat": [ANSWER, 3],
        "async": [ANSWER, ANSWER],
    }
