"""What the command can do, and what each operation takes: the words of ``--help``."""

from pathlib import Path
from typing import Any

STAGES = {
    "base": "fetch the base model once, by content",
    "data": "check the raw data and keep what is valid",
    "features": "apply the registered transforms, split off the holdout",
    "production": "fetch the release to compare with",
    "train": "fine-tune the candidate",
    "evaluate": "let both models answer the holdout, and score",
    "compare": "judge the candidate against production",
}
OPERATIONS = {
    "report": "write reports/report.md and reports/report.html, print the summary",
    "gate": "exit with the verdict: 0 pass, 3 fail, 4 inconclusive",
    "drill": "try the gate on equal models, planted regressions and broken inputs",
    "comment": "post reports/report.md to the pull request, set its status trunkline/gate",
    "engine": "serve a model over HTTP from this process",
    "serve": "answer requests with releases: assign, guard, forward to engines, log",
    "pin": "write the release to compare with into data/production.json",
    "rollout": "let a release earn its traffic: start, watch, decide; or replay a log",
    "predictions": "show, export, erase or prune what the prediction log holds",
    "doctor": "say what is missing here and on GitHub, and how to mend it",
    "supervise": "serve an environment's releases on this machine, as its branch asks for",
    "monitor": "look at what serves: errors, cost, quality and drift beside its own training data",
    "alert": "keep one issue for each alarm in reports/monitor.json",
    "retrain": "collect new labelled rows as the next partition, open one pull request",
    "deploy": "write a release's Kubernetes manifests, or set HAProxy's canary weight",
    "release": "register the merged commit: verify, bundle, sign, store, tag",
    "promote": "let an environment serve a release",
    "rollback": "let an environment serve an earlier release again, and pin it",
    "status": "what each environment serves, since when, and what waits",
    "history": "what served when, who decided, and why",
    "trace": "follow a prediction or release back to weights, training, data and code, and verify each hash",
    "affected": "which data sets, releases and predictions contain a customer",
    "plan": "say what dvc.lock, code and params leave to run, without any data",
    "push": "push data and weights to the DVC remote, prove it, write artifact/",
    "adopt": "check an artifact, commit its dvc.lock and reports to the branch",
    "reap": "end processes and clear files that a killed run has left here",
}
EXIT_ERROR = 1
# By verdict.
EXIT_CODES = {"pass": 0, "fail": 3, "inconclusive": 4}
_BY = {"metavar": "NAME", "help": "who decides; default: whoever GitHub Actions or Git's configuration names"}
# What an operation takes besides params.yaml: the arguments of `run`, as the parser names them.
_COMMIT = {
    "--commit": {"metavar": "SHA", "help": "judge what this commit holds instead of the working tree"},
    "--base": {"metavar": "SHA", "help": "with --commit: of the branch it goes to; what is judged there alike passes"},
}
_ROLLOUT = ("start", "status", "step", "watch", "promote", "hold", "resume", "rollback", "replay", "export", "analyse")
ARGUMENTS: dict[str, dict[str, dict[str, Any]]] = {
    "deploy": {
        "target": {"choices": ("kubernetes", "haproxy"), "help": "for what to write"},
        "--release": {"metavar": "VERSION", "help": "kubernetes: the release, such as v1.2.0"},
        "--salt": {"metavar": "TEXT", "help": "haproxy: of the rollout; another one assigns every unit anew"},
        "--weight": {"type": float, "default": 0.0, "metavar": "SHARE", "help": "haproxy: of the units; default: 0"},
        "--environment": {
            "metavar": "NAME",
            "help": "kubernetes: commit to its branch, for Argo CD; haproxy: take salt and weight of its rollout",
        },
    },
    "engine": {
        "--model": {
            "type": Path,
            "required": True,
            "metavar": "FOLDER",
            "help": "what to serve: a trained bundle such as models/candidate, or exported whole weights",
        },
        "--base": {
            "type": Path,
            "default": Path("models/base"),
            "metavar": "FOLDER",
            "help": "the base model that a bundle's adapter goes on; default: models/base",
        },
        "--port": {"type": int, "required": True, "metavar": "N", "help": "on the loopback interface; 0: a free one"},
        "--threads": {
            "type": int,
            "metavar": "N",
            "help": "that compute; default: all cores. Engines that share a machine must share its cores",
        },
    },
    "serve": {
        "--traffic": {
            "type": Path,
            "metavar": "FILE",
            "help": "which release answers which share of the units; followed while it changes",
        },
        "--bundle": {
            "type": Path,
            "metavar": "FOLDER",
            "help": "without a rollout: the one release that answers, such as a release's bundle or models/candidate",
        },
        "--listen": {"metavar": "HOST:PORT", "help": "default: serve.gateway.listen"},
        "--pin": {
            "metavar": "MESSAGE",
            "help": "serve nothing: write down what the release's engine answers to this, to know it by later",
        },
    },
    "rollout": {
        "action": {
            "choices": _ROLLOUT,
            "help": "what to do; see docs/rollout.md",
        },
        "what": {
            "nargs": "?",
            "metavar": "WHAT",
            "help": "start: the version; replay: a log as Parquet; export: its file; with --reviewed: the rollout",
        },
        "--environment": {"metavar": "NAME", "help": "default: production"},
        "--reason": {"metavar": "TEXT", "help": "why, for the record; promote, hold, resume and rollback need one"},
        "--by": _BY,
        "--plan": {
            "type": Path,
            "metavar": "FILE",
            "help": "replay: the plan that the rollout started with; default: the section rollout of params.yaml",
        },
        "--canary": {"metavar": "VERSION", "help": "analyse: the release that a Kubernetes Job asks about"},
        "--weight": {"type": float, "metavar": "SHARE", "help": "analyse: the step that is to be left"},
        "--split": {
            "type": float,
            "metavar": "SHARE",
            "help": "start, replay: an A/B test, this share of units on the canary",
        },
        "--until-held": {"action": "store_true", "default": None, "help": "watch: end when a human has to decide, too"},
        "--reviewed": {"action": "store_true", "default": None, "help": "promote, rollback: as this run's review says"},
    },
    "plan": {"--base": {"metavar": "REVISION", "help": "of the branch it goes to; what was run since then counts"}},
    "gate": _COMMIT,
    "comment": _COMMIT,
    "adopt": {
        "folder": {"metavar": "FOLDER", "type": Path, "help": "where the artifact was unpacked"},
        "--commit": {"metavar": "SHA", "help": "the pull request's head; default: the commit checked out here"},
        "--branch": {"metavar": "NAME", "help": "the pull request's branch; default: the one checked out here"},
    },
    "pin": {
        "revision": {
            "metavar": "RELEASE",
            "nargs": "?",
            "help": "v1.2.0, a Git revision whose candidate is production, or `base` for the untuned base model; "
            "default: what serves in production",
        },
    },
    "predictions": {
        "action": {"choices": ("show", "export", "erase", "prune"), "help": "what to do"},
        "id": {"nargs": "?", "metavar": "ID", "help": "the prediction to show, or the customer to erase"},
        "--since": {"metavar": "TIME", "help": "export predictions from this moment on, such as 2026-11-01"},
        "--until": {"metavar": "TIME", "help": "export predictions before this moment"},
        "--out": {"metavar": "FILE", "help": "the Parquet file to export to"},
    },
    "release": {
        "--bump": {
            "choices": ("major", "minor", "patch"),
            "default": "minor",
            "help": "the part of the version that is raised; default: minor, so the first is v0.1.0",
        },
        "--approved-by": {"metavar": "NAME", "help": "who lets an inconclusive verdict through; with --reason"},
        "--reason": {"metavar": "TEXT", "help": "why; both are recorded in the release"},
    },
    "promote": {
        "version": {"metavar": "VERSION", "help": "such as v1.2.0"},
        "--to": {"metavar": "ENVIRONMENT", "required": True, "help": "such as canary or production"},
        "--reason": {"metavar": "TEXT", "help": "why, for the record; must be said where something else was compared"},
        "--by": _BY,
    },
    "rollback": {
        "--to": {"metavar": "VERSION", "required": True, "help": "a version that has served there, such as v1.1.0"},
        "--reason": {"metavar": "TEXT", "required": True, "help": "why, for the record"},
        "--environment": {"metavar": "NAME", "default": "production", "help": "default: production"},
        "--by": _BY,
    },
    "supervise": {"--environment": {"metavar": "NAME", "default": "production", "help": "default: production"}},
    "history": {
        "--environment": {"metavar": "NAME", "help": "only of this one"},
        "--json": {"action": "store_true", "help": "as a JSON list"},
    },
    "trace": {
        "what": {"metavar": "WHAT", "help": "a prediction, a release (v1.2.0), a tag of the registry, or a commit"},
        "--fetch": {"action": "store_true", "help": "ask the DVC remote for what is not here"},
    },
    "monitor": {"--until": {"metavar": "TIME", "help": "look at the time before this moment; default: now"}},
    "retrain": {"--reason": {"metavar": "TEXT", "help": "why it is run by hand; does not wait for the cool-down"}},
    "affected": {"--customer": {"metavar": "ID", "required": True, "help": "as in the raw data"}},
}
# Operations whose verdict is the exit code; `run` of the others gives what it found, with or without one.
DECIDING = ("gate", "rollout", "drill", "doctor", "trace", "affected", "release", "monitor", "retrain")
