"""Write what serves a release: its Kubernetes manifests, or HAProxy's configuration with the canary's weight."""

from pathlib import Path

from trunkline import haproxy, manifests, registry
from trunkline.clients import files
from trunkline.clients import haproxy as runtime
from trunkline.clients.git import tags
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records.release import Manifest, from_message

FOLDER = Path("deploy")


def run(params: Params, target: str, release: str | None, salt: str | None, weight: float) -> str:
    """Write the files of a target; of HAProxy, also set the weight where it runs.

    Args:
        target: ``kubernetes`` or ``haproxy``.
        release: for Kubernetes: a version of the model.
        salt: for HAProxy: the rollout's.
        weight: for HAProxy: the canary's share of the units, 0 to 1.

    Returns:
        What was written and what comes next.

    Raises:
        Error: an argument is missing, there is no such release, or HAProxy does not take the weight.
    """
    if target == "kubernetes":
        return _kubernetes(params, release)
    return _haproxy(params, salt, weight)


def _kubernetes(params: Params, release: str | None) -> str:
    if release is None:
        raise Error("which release?", "add --release, such as --release v1.2.0")
    model = registry.of(tags.everything(), params.project.name)
    tag = model.versions.get(registry.Version(release))
    if tag is None:
        known = ", ".join(map(str, model.versions)) or "none is here: `git fetch --tags`"
        raise Error(f"there is no release {params.project.name}@{release}", f"releases: {known}")
    shares = [step.weight for step in params.rollout.steps]
    found, drain = from_message(Manifest, tag), params.serve.gateway.drain
    text = manifests.render(found, params.deploy.kubernetes, shares, drain)
    path = FOLDER / "kubernetes" / f"{params.project.name}.yaml"
    files.write_text(path, text)
    return f"{path} serves {tag.name}\nnext: commit it where Argo CD looks, or `kubectl apply --filename {path}`"


def _haproxy(params: Params, salt: str | None, weight: float) -> str:
    if not salt:
        raise Error("which rollout's salt?", "add --salt; for a new rollout draw one, such as `openssl rand -hex 16`")
    settings = params.deploy.haproxy
    text = haproxy.render(salt, settings)
    entry = haproxy.entry(weight)
    path = FOLDER / "haproxy" / "haproxy.cfg"
    same = path.is_file() and files.read_text(path) == text
    files.write_text(path, text)
    if not Path(settings.socket).exists():
        files.write_text(Path(settings.map), haproxy.map_file(weight))
        return f"{path} and {settings.map} are written, weight {weight:g}\nnext: start HAProxy with {path}"
    runtime.set_entry(Path(settings.socket), Path(settings.map), haproxy.KEY, entry)
    changed = "" if same else f"\nnext: {path} has changed, reload HAProxy with it"
    return f"HAProxy sends {weight:.4g} of the units to the canary{changed}"
