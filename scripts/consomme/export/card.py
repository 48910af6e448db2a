"""The model card, README.md: the hub's page of a model, from its config and its provenance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consomme.formats import Format

TASKS = {"asr": ("automatic-speech-recognition", "Speech recogniser"), "nmt": ("translation", "Translator")}


def card(model: Path, form: Format, about: dict[str, Any]) -> str:
    """Markdown with the hub's front matter. model: the checkpoint that was written in the format; about: task, languages,
    name."""
    from huggingface_hub import ModelCardData

    from consomme.weights.compatibility import config

    settings = config(model)
    pipeline, word = TASKS[about["task"]]
    data = ModelCardData(
        language=list(about["languages"]),
        library_name=form.library,
        pipeline_tag=pipeline,
        tags=["consomme", settings["model_type"]],
    )
    lines = [
        f"---\n{data.to_yaml()}\n---",
        f"# {about['name']}",
        f"{', '.join(filter(None, [word, ' to '.join(about['languages'])]))}.",
    ]
    lines.append("How it was made, from which models and data, and with which versions stands in `provenance.json`.")
    if settings.get("pruned_heads") and not form.load:
        lines.append(
            "Attention heads were cut out of this model: load it with `consomme.families.load(FOLDER)`, or load the folder "
            "`zeroed`, which has the stock shape and those heads zero, with `from_pretrained`."
        )
    else:
        lines.append(form.loading)
    return "\n\n".join(lines) + "\n"
