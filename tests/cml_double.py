"""A stand-in for CML 0.20.6: `cml comment create|update`, with what was recorded of it, traps included.

A test copies this file to a folder on PATH as `cml`. It ends with 64 and says why when it is called in a way
that is not safe, so a test that passes has shown the arguments, the environment and the folder.
"""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path


def demand(holds: bool, what: str) -> None:
    if not holds:
        print(f"UNSAFE CALL: {what}", file=sys.stderr)
        sys.exit(64)


def check(arguments: list[str]) -> dict[str, str]:
    demand(arguments[:1] == ["comment"] and arguments[1] in ("create", "update"), f"command {arguments[:2]}")
    demand(arguments[-1] == "report.md", f"file {arguments[-1]}")
    demand(all("=" in argument for argument in arguments[2:-1]), f"an option without its value: {arguments}")
    options = dict(argument.removeprefix("--").split("=", 1) for argument in arguments[2:-1])
    demand(set(options) == {"publish", "target", "driver", "repo", "watermark-title"}, f"options {sorted(options)}")
    demand(options["publish"] == "false", "it would upload files")
    demand(options["driver"] == "github", f"driver {options['driver']}")
    demand(re.fullmatch(r"pr/\d+", options["target"]) is not None, f"target {options['target']}")
    demand(os.listdir() == ["report.md"], f"it can reach {os.listdir()}")
    token = os.environ.get("REPO_TOKEN", "")
    demand(bool(token) and not any(token in argument for argument in arguments), "the token's place is REPO_TOKEN")
    demand(os.environ.get("ITERATIVE_DO_NOT_TRACK") == "1", "telemetry is on")
    secrets = [name for name in os.environ if name.startswith(("CML_", "AWS_", "HF_")) or name == "GITHUB_TOKEN"]
    demand(not secrets, f"it sees {secrets}")
    return options


def call(method: str, url: str, content: object = None) -> object:
    token = os.environ["REPO_TOKEN"]
    headers = {"authorization": f"token {token}", "accept": "application/vnd.github.v3+json"}
    data = None if content is None else json.dumps(content).encode()
    asked = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(asked) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        # The real one logs the request with its headers.
        print(f"error: {json.load(error)['message']} (authorization: token {token})", file=sys.stderr)
        sys.exit(1)


def main() -> None:
    options = check(sys.argv[1:])
    subprocess.run(["git", "config", "--global", "--add", "safe.directory", "*"], check=True)
    trouble = Path(__file__).with_name("trouble")
    mode = trouble.read_text() if trouble.exists() else ""
    if mode == "hang":
        sleeper = subprocess.Popen(["sleep", "600"])
        partial = Path(__file__).with_name("sleeper.partial")
        partial.write_text(str(sleeper.pid))
        partial.rename(partial.with_suffix(""))
        sleeper.wait()
    if mode == "crash":
        print(f"TypeError: fetch failed with {os.environ['REPO_TOKEN']}", file=sys.stderr)
        sys.exit(7)
    if mode == "other program":
        print("just a simple test")
        return
    server, _, repository = options["repo"].rpartition("/acme/")
    api = f"{server}/api/v3/repos/acme/{repository}"
    call("GET", f"{server}/api/v3/users/{os.environ['GITHUB_ACTOR']}")
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text())
    title = f"CML watermark {options['watermark-title']}".replace("_", "\\_")
    mark = f'![](https://cml.dev/watermark.png#{event["pull_request"]["head"]["sha"]} "{title}")'
    body = {"body": Path("report.md").read_text() + f"\n\n{mark}"}
    thread = f"{api}/issues/{options['target'].removeprefix('pr/')}/comments"
    found = None
    if sys.argv[2] == "update":
        pattern = re.sub(r"#[0-9a-f]+", "#[0-9a-fA-F]+", re.escape(mark).replace(r"\#", "#"))
        rows = call("GET", thread)
        found = next((row for row in reversed(rows) if re.search(pattern, row["body"])), None)
    written = call("PATCH", f"{api}/issues/comments/{found['id']}", body) if found else call("POST", thread, body)
    if mode == "crash afterwards":
        sys.exit(7)
    print(written["html_url"])


main()
