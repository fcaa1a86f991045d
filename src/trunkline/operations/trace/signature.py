"""Whether a release's bundle carries the OpenSSF signature that params.yaml asks for, over the files of its tag."""

import shutil
from pathlib import Path

from trunkline.clients import bundles, scratch, signing
from trunkline.clients.contents import Places
from trunkline.clients.dvc import stored
from trunkline.errors import Error
from trunkline.lineage import Link
from trunkline.params import ReleaseParams
from trunkline.records.release import Manifest, Tag
from trunkline.verdict import Verdict

_FETCH = "`--fetch` asks the DVC remote for the bundle"


def links(tag: Tag, places: Places, params: ReleaseParams) -> list[Link]:
    """The link from a release to whoever signed it; none where its tag carries no manifest, which is told elsewhere.

    Args:
        tag: the release's.
        places: where its bundle is looked for.
        params: who must have signed it, now and not when it was released: else it could name its own forger.
    """
    try:
        manifest = Manifest.of(tag)
    except Error:
        return []
    signer = params.public_key if params.sign == "key" else params.identity
    verdict, note = _verified(manifest, places, params)
    return [Link("signature", f"{signing.SIGNATURE} of {signer}", verdict, note)]


def _verified(manifest: Manifest, places: Places, params: ReleaseParams) -> tuple[Verdict, str]:
    if params.sign == "key" and not Path(str(params.public_key)).is_file():
        return Verdict.INCONCLUSIVE, f"{params.public_key} is not here: correct release.public_key"
    way = manifest.params.get("release")
    if isinstance(way, dict) and way.get("sign") == "none":
        return Verdict.INCONCLUSIVE, "it was released without one: nothing but its tag vouches for it"
    members = places.members(manifest.bundle)
    with scratch.folder() as temporary:
        for name, md5 in members.items():
            if not stored.inside(name):
                return Verdict.FAIL, f"its bundle names a file outside of itself: {name}"
            found = places.stored(md5)
            if found is None:
                return Verdict.INCONCLUSIVE, _FETCH
            place = temporary / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found.path, place)
        if not members:
            return Verdict.INCONCLUSIVE, _FETCH
        try:
            bundles.verify(manifest, temporary, params)
        except Error as error:
            return Verdict.FAIL, error.problem.replace(f"{temporary}/", "")
    return Verdict.PASS, f"it holds over all {len(members) - 1} files of the bundle"
