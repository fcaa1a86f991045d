"""Prints tests/crds.json: strict schemas of the custom resources that deploy/kubernetes/ holds.

They come from the field names and types of the npm packages below, which are generated from the projects' own Go
types. Kubernetes' own types are references into the definitions of the package kubernetes-validate. Run by hand
when a version goes up: `npm pack` needs the network, the tests do not.
"""

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGES = {
    "@kubernetes-models/argo-rollouts@2.0.0": ("argoproj.io/v1alpha1/", ("Rollout", "AnalysisTemplate")),
    "@kubernetes-models/gateway-api@2.0.0": ("gateway.networking.k8s.io/v1/", ("HTTPRoute",)),
    "@kubernetes-models/prometheus-operator@6.0.0": ("monitoring.coreos.com/v1/", ("PodMonitor", "PrometheusRule")),
}
CORE = re.compile(r"I(IoK8sApi(?:machinery|extensionsApiserver)?[A-Z].*)")
INTERFACE = re.compile(r"^export interface I(\w+)(?: extends ([\w, ]+))? \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
ALIAS = re.compile(r"^export type I(\w+) = (.+);$", re.MULTILINE)
LONG_NAME = re.compile(r"I(\w+) as I(\w+)")
FIELD = re.compile(r'^    "([^"]+)"(\??): (\{.*?^    \}|[^;]+?);$', re.MULTILINE | re.DOTALL)


def main():
    """Fetch the packages, read their types and print what the kinds need of them."""
    schemas = {}
    for package, (folder, kinds) in PACKAGES.items():
        types = read(package, folder)
        for kind in kinds:
            schemas[folder + kind] = reachable(kind, *types)
    json.dump(schemas, sys.stdout, indent=1, sort_keys=True)
    print()


def read(package, folder):
    """Every type of a package: interfaces and aliases by their short names, and short names by long ones."""
    with tempfile.TemporaryDirectory() as temporary:
        command = ["npm", "pack", "--silent", "--pack-destination", temporary, package]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(temporary).glob("*.tgz"))) as archive:
            members = [member for member in archive if member.name.startswith(f"package/{folder}")]
            texts = [archive.extractfile(member).read().decode() for member in members if member.name.endswith(".d.ts")]
    texts = [re.sub(r"^ */\*\*.*?\*/\n", "", text, flags=re.MULTILINE | re.DOTALL) for text in texts]
    short = {long: name for text in texts for name, long in LONG_NAME.findall(text)}
    aliases = {name: meaning for text in texts for name, meaning in ALIAS.findall(text)}
    found = {name: (parents, fields) for text in texts for name, parents, fields in INTERFACE.findall(text)}
    return found, aliases, short


def structure(name, found, short):
    """The schema of an interface: its own fields, its parents' too, and nothing else."""
    properties, required = {}, []
    parents, fields = found[name]
    for parent in filter(None, parents.split(", ")):
        if parent == "TypeMeta":
            continue
        above = structure(short.get(parent[1:], parent[1:]), found, short)
        properties |= above["properties"]
        required += above["required"]
    for field, optional, meaning in FIELD.findall(fields):
        properties[field] = kind(meaning, short)
        required += [] if optional else [field]
    return {"additionalProperties": False, "properties": properties, "required": sorted(required), "type": "object"}


def kind(meaning, short):
    """The schema of a TypeScript type."""
    meaning = meaning.strip()
    if meaning in ("string", "boolean", "number"):
        return {"type": meaning}
    if re.fullmatch(r'("[^"]*"|\d+)( \| ("[^"]*"|\d+))*', meaning):
        return {"enum": [json.loads(value) for value in meaning.split(" | ")]}
    inner = re.fullmatch(r"Array<(.+)>", meaning, re.DOTALL)
    if inner:
        return {"items": kind(inner[1], short), "type": "array"}
    inner = re.fullmatch(r"\{\s*\[key: string\]: (.+?);?\s*\}", meaning, re.DOTALL)
    if inner:
        return {"additionalProperties": kind(inner[1], short), "type": "object"}
    if meaning == "{}":
        return {"type": "object"}
    if CORE.fullmatch(meaning) and meaning[1:] not in short:
        return {"$ref": "core:" + meaning[1:]}
    if re.fullmatch(r"I\w+", meaning):
        return {"$ref": "#/definitions/" + short.get(meaning[1:], meaning[1:])}
    sys.exit("error: this script does not know the type " + meaning)


def reachable(name, found, aliases, short):
    """A kind's schema with the definitions that it needs; its status is not for manifests."""
    definitions, todo = {}, [name]
    while todo:
        one = todo.pop()
        if one in definitions:
            continue
        definitions[one] = structure(one, found, short) if one in found else kind(aliases[one], short)
        if one == name:
            definitions[one]["properties"].pop("status", None)
        todo += re.findall(r'"#/definitions/(\w+)"', json.dumps(definitions[one]))
    return {"$ref": "#/definitions/" + name, "definitions": definitions}


if __name__ == "__main__":
    main()
