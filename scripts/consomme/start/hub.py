"""A checkpoint from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from consomme.common.errors import ConsommeError
from consomme.common.tensor_files import to_convert
from consomme.start.checkpoint import PATTERNS
from consomme.start.published import CARD

ADAPTERS = "adapter.*"  # one for each of up to a thousand languages: only that of the experiment is fetched


def fetch(name: str, revision: str | None) -> tuple[Path, str]:
    """The folder and the commit of a checkpoint on the hub, downloaded unless the local cache has it.

    Only safetensors, JSON, SentencePiece and text files and the model card are fetched. ConsommeError if there is no such name,
    no way to reach the hub, or no safetensors."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"from.hub: {name}" + (f" at {revision}" if revision else "")
    try:
        folder = Path(
            snapshot_download(name, revision=revision, allow_patterns=[*PATTERNS, CARD], ignore_patterns=[ADAPTERS])
        )
    except HFValidationError as error:
        raise ConsommeError(
            f"{where}: not a name on the hub (OWNER/NAME is); for a folder write from: {{folder: ...}}"
        ) from error
    except GatedRepoError as error:
        raise ConsommeError(
            f"{where}: its owner asks for consent first; give it on the hub, then `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ConsommeError(f"{where}: the repository has no such revision") from error
    except RepositoryNotFoundError as error:
        raise ConsommeError(f"{where}: no such repository, or a private one (then `hf auth login`)") from error
    except (LocalEntryNotFoundError, OSError) as error:
        raise ConsommeError(
            f"{where}: the hub can't be reached and the local cache has no complete copy. On a machine with a network: "
            f"`hf download {name} --local-dir FOLDER`, copy FOLDER here, and write from: {{folder: FOLDER}} "
            f"(or set HF_HOME to a cache that has it). The cause: {type(error).__name__}: {str(error)[:200]}"
        ) from error
    if not list(folder.glob("*.safetensors")):
        raise ConsommeError(
            f"{where}: it has no safetensors weights, and pickled ones are never loaded. Many repositories have a "
            f"conversion as a pull request: name it as revision: refs/pr/NUMBER. Or {to_convert('pytorch_model.bin')}"
        )
    return folder, folder.name


def fetch_file(name: str, commit: str, file: str) -> None:
    """Download one more file of a checkpoint that `fetch` has found, into the same folder of the local cache.
    ConsommeError if there is no such file, or no way to reach the hub."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        hf_hub_download(name, file, revision=commit)
    except (LocalEntryNotFoundError, EntryNotFoundError, OSError) as error:
        raise ConsommeError(
            f"from.hub: {name}: {file} can't be fetched: the repository has none, or the hub can't be reached "
            f"({type(error).__name__}: {str(error)[:200]})"
        ) from error
