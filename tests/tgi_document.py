"""TGI's own OpenAPI document: whether an answer has the shape that it says."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator

DOCUMENT = json.loads((Path(__file__).parent / "tgi_openapi.json").read_text())


def nullable(schema: Any) -> Any:
    """A schema with OpenAPI 3.0's ``nullable`` in JSON Schema's words."""
    if isinstance(schema, list):
        return [nullable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: nullable(value) for name, value in schema.items() if name not in ("nullable", "format", "example")}
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") is True else plain


SCHEMAS = {"components": nullable(DOCUMENT["components"])}


def check(document: Any, name: str) -> None:
    """The document has the shape that TGI says."""
    validate(document, {"$ref": f"#/components/schemas/{name}"})


def validate(document: Any, schema: dict[str, Any]) -> None:
    """The document has the shape of a schema that may refer to TGI's."""
    Draft4Validator({**SCHEMAS, **nullable(schema)}).validate(document)


def chunk(document: Any) -> Any:
    """A chunk of a stream with what OpenAI and vLLM leave out or write otherwise, and TGI's document demands."""
    for choice in document["choices"]:
        if "delta" in choice:
            # TGI repeats the role in each piece, and the last one has a text.
            choice["delta"] = {"role": "assistant", "content": "", **choice["delta"]}
        else:
            # TGI writes "" where OpenAI and vLLM write null.
            choice["finish_reason"] = choice["finish_reason"] or ""
    return document
