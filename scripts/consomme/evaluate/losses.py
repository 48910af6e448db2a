"""The negative log likelihood of each example of a batch, by objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from consomme.families.base import Family

LABEL_PAD = -100


def nll(family: Family, model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The summed negative log likelihood of each example [b], float32 nats, and its label counts [b], by the family's
    objective."""
    measure = {"ctc": ctc_nll, "seq2seq": seq2seq_nll, "transducer": transducer_nll}[family.objective]
    return measure(family, model, batch)


def seq2seq_nll(
    family: Family, model: PreTrainedModel, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The summed token negative log likelihood of each example [b], float32 nats, and its token counts [b].

    No label smoothing; labels of -100 don't count."""
    import torch
    from torch.nn.functional import cross_entropy

    inputs = dict(batch)
    labels = inputs.pop("labels")
    if "decoder_input_ids" not in inputs:
        # given instead of the labels, so that the model doesn't compute its own mean loss as well
        inputs["decoder_input_ids"] = family.decoder_inputs(model, labels)
    with family.fitted(model, inputs):
        logits = model(**inputs, use_cache=False).logits
    # one example at a time: log probabilities of a whole batch over a large vocabulary take gigabytes
    nll = [
        cross_entropy(one.float(), wanted, ignore_index=LABEL_PAD, reduction="sum")
        for one, wanted in zip(logits, labels, strict=True)
    ]
    return torch.stack(nll), (labels != LABEL_PAD).sum(dim=1)


def ctc_nll(
    family: Family, model: PreTrainedModel, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The CTC negative log likelihood of each example [b], float32 nats, and its label counts [b].

    The blank is the config's pad_token_id. A transcript that is too long for its frames has infinite loss and
    counts as 0, as in training. This is the same for every model with the same frame rate."""
    import torch
    from torch.nn.functional import ctc_loss, log_softmax

    inputs = dict(batch)
    labels = inputs.pop("labels")
    log_probs = log_softmax(model(**inputs).logits.float(), dim=-1).transpose(0, 1)  # [time, b, vocabulary]
    frames = family.frames(model, batch).to(labels.device)
    tokens = (labels != LABEL_PAD).sum(dim=1)
    with torch.backends.cudnn.flags(enabled=False):  # cuDNN's own kernel is not deterministic
        nll = ctc_loss(
            log_probs,
            labels[labels != LABEL_PAD],
            frames,
            tokens,
            blank=model.config.pad_token_id,
            reduction="none",
            zero_infinity=True,
        )
    return nll, tokens


def transducer_nll(
    family: Family, model: PreTrainedModel, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """A transducer's negative log likelihood of each example [b], float32 nats, and its label counts [b]."""
    inputs = dict(batch)
    labels = inputs.pop("labels")
    if "decoder_input_ids" not in inputs:
        inputs["decoder_input_ids"] = family.decoder_inputs(model, labels)
    frames = family.frames(model, inputs).to(labels.device)
    found = family.lattice_nll(model, model(**inputs).logits.float(), labels, frames)
    return found, (labels != LABEL_PAD).sum(dim=1)
