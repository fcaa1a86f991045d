"""Write what serves a release: its Kubernetes manifests, or HAProxy's configuration with the canary's weight."""

from pathlib import Path

from trunkline import haproxy, manifests, registry
from trunkline.clients import actor, files
from trunkline.clients import haproxy as runtime
from trunkline.clients.git import branches, publishing, tags
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records.release import Amendment, Manifest, Tag, from_message
from trunkline.records.rollout import Rollout
from trunkline.rollout import started

FOLDER = Path("deploy")


def run(
    params: Params, target: str, release: str | None, salt: str | None, weight: float, environment: str | None
) -> str:
    """Write the files of a target; of HAProxy, also set the weight where it runs.

    Args:
        target: ``kubernetes`` or ``haproxy``.
        release: for Kubernetes: a version of the model.
        salt: for HAProxy: the rollout's.
        weight: for HAProxy: the canary's share of the units, 0 to 1.
        environment: for Kubernetes: on whose branch to write; None: into this folder. For HAProxy: whose rollout says
            salt and weight; None: the arguments do.

    Returns:
        What was written and what comes next.

    Raises:
        Error: an argument is missing or one too many, there is no such release or rollout, the remote does not take
            the branch, or HAProxy the weight.
    """
    if target == "kubernetes":
        return _kubernetes(params, release, environment)
    if environment is not None:
        salt, weight = _tried(params.project.name, environment, salt)
    return _haproxy(params, salt, weight)


def _kubernetes(params: Params, release: str | None, environment: str | None) -> str:
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
    if environment is not None:
        return _committed(tag.name, environment, f"kubernetes/{params.project.name}.yaml", text.encode())
    path = FOLDER / "kubernetes" / f"{params.project.name}.yaml"
    files.write_text(path, text)
    return f"{path} serves {tag.name}\nnext: commit it where Argo CD looks, or `kubectl apply --filename {path}`"


def _committed(release: str, environment: str, path: str, content: bytes) -> str:
    """Write manifests on the environment's branch, in a folder of their own: Argo CD takes all files for manifests."""
    branch, who = registry.branch(environment), actor.name(None)

    def amendment(head: str | None, _: list[Tag]) -> Amendment | None:
        if head is not None and branches.at(head, path) == content:
            return None
        return Amendment(f"{release} in {environment}: Kubernetes\n\nby {who}\n", {path: content}, None)

    publishing.amend(branch, amendment)
    return f"{path} on {branch} serves {release}\nnext: Argo CD, with that branch and folder, makes it so"


def _tried(model: str, environment: str, salt: str | None) -> tuple[str | None, float]:
    """Salt and weight of an environment's last rollout: the weight as its branch says it, the salt as it started."""
    if salt is not None:
        raise Error(f"the salt is given, and {environment} has one", "leave --salt or --environment out")
    branch, path = registry.branch(environment), registry.rollout_path(model)
    head = publishing.head(branch)
    content = None if head is None else branches.at(head, path)
    if head is None or content is None:
        hint = f"`trunkline rollout start VERSION --environment {environment}`, or give --salt and --weight"
        raise Error(f"nothing was ever tried in {environment}", hint)
    rollout = started.held(Rollout.parse(content, f"{path} of {branch}"), branches.newest_first(head, path)).rollout
    return rollout.plan.salt, rollout.weight


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
