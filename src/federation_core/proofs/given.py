"""What the harness brings: the workflow that runs and the policy that decides."""

from pathlib import Path

import msgspec
import yaml

from ..errors import OperatorError
from .hashing import digest, sha256

__all__ = ["MATERIAL", "Given"]

MATERIAL = Path(__file__).parent / "material"


class Given(msgspec.Struct, frozen=True):
    """`workflow` is the text of the file, `files` the texts of the policy bundle by name; `policy`
    its id and its hash, made here, by which every decision must have been taken."""

    folder: Path
    workflow: str
    files: dict[str, str]
    policy: tuple[str, str]

    @classmethod
    def read(cls, folder: Path = MATERIAL) -> "Given":
        """`workflow.yaml` and `policy/` in `folder`. Raises `OperatorError`."""
        try:
            workflow = (folder / "workflow.yaml").read_text("utf-8")
            paths = sorted((folder / "policy").iterdir())
            files = {path.name: path.read_text("utf-8") for path in paths}
            bundle_id = str(yaml.safe_load(files["bundle.yaml"])["id"])
        except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as e:
            raise OperatorError(f"The material of the proof in {folder} cannot be read: {e}") from e
        hashes = {name: sha256(text.encode()) for name, text in files.items()}
        return cls(folder, workflow, files, (bundle_id, digest({"files": hashes})))
