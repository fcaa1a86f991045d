"""The model card: README.md of a bundle, which the Hub shows as the model's page."""

import yaml
from pydantic import JsonValue

from trunkline.clients import signing
from trunkline.params import Params
from trunkline.records import Report
from trunkline.records.release import Manifest
from trunkline.words import as_number, as_object, change, number, share, template

_KINDS = {
    "lora": "A LoRA adapter on",
    "merged": "A fine-tuned copy of",
    "hosted": "A prompt, without weights, for the provider's model",
}


def render(manifest: Manifest, compared: Report, params: Params) -> str:
    """The card of a release, with the Hub's metadata before it.

    Args:
        manifest: of the release.
        compared: reports/compare.json of its commit.
        params: of its commit.
    """
    body = template("model_card.md.j2").render(
        model=manifest.model,
        version=manifest.version,
        kind=_KINDS[manifest.kind],
        base=manifest.base["source"],
        by=manifest.by,
        commit=manifest.commit,
        production=manifest.production.release or "the untuned base model",
        checks=compared.checks,
        approval=manifest.approval,
        scores=[_score(name, as_object(value)) for name, value in manifest.scores.items()],
        examples=number(as_number(compared.details.get("examples"))),
        parts=_parts(manifest),
        tag=f"{manifest.model}@{manifest.version}",
        signed={"none": "", "key": "elliptic curve key", "sigstore": "Sigstore"}[params.release.sign],
        signature=signing.SIGNATURE,
    )
    return f"---\n{yaml.safe_dump(_metadata(manifest), sort_keys=False)}---\n\n{body.strip()}\n"


def _metadata(manifest: Manifest) -> dict[str, object]:
    """What the Hub reads: https://huggingface.co/docs/hub/model-cards."""
    source = manifest.base["source"]
    # Anything but a model of the Hub would be a broken link there.
    base = {"base_model": source.removeprefix("hub:").partition("@")[0]} if source.startswith("hub:") else {}
    library = (
        {} if manifest.kind == "hosted" else {"library_name": "peft" if manifest.kind == "lora" else "transformers"}
    )
    return {**library, "pipeline_tag": "text-generation", **base, "tags": ["trunkline", manifest.model]}


def _score(name: str, metric: dict[str, JsonValue]) -> dict[str, str]:
    values = {key: as_number(value) for key, value in metric.items()}
    sides = [values.get(side) for side in ("production", "candidate")]
    in_points = all(value is not None and 0 <= value <= 1 for value in sides)
    shown = share if in_points else number
    difference = change(values.get("difference"), values.get("low"), values.get("high"), "points" if in_points else "")
    margin = values.get("margin")
    lower = "" if metric.get("higher_is_better", True) else " (lower is better)"
    return {
        "name": name + lower,
        "production": shown(sides[0]),
        "candidate": shown(sides[1]),
        "difference": difference,
        "margin": "" if margin is None else share(margin),
    }


def _parts(manifest: Manifest) -> list[tuple[str, str]]:
    """Everything by which the release can be traced and made again."""
    return [
        ("dvc.lock", f"sha256 {manifest.lock}"),
        *((path, f"sha256 {content.sha256}") for path, content in manifest.data.items()),
        ("base model", f"{manifest.base['source']} sha256 {manifest.base['sha256']}"),
        ("prompt", manifest.task.prompt_id),
        *(("transform", transform) for transform in manifest.task.transforms),
        *(("decoding", f"{name} {value}") for name, value in manifest.decoding.items()),
        *(("package", f"{name} {version}") for name, version in manifest.tools.items()),
    ]
