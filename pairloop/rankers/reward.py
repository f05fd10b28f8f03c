"""A reward model as a ranker: any sequence classifier of transformers with one output, read through its chat template.

A score is the model's one number for (prompt, response), so that it does not depend on the prompt's other responses.
"""

import bisect
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from pairloop.errors import ModelError
from pairloop.models import chat, references
from pairloop.rankers.prefix import batches, check_ids, context, own_padding


class Reward:
    """Ranks by a reward model.

    Texts that are longer than the model's context are cut on the right: the prompt to half the context where it is
    longer, then the response. `cut` counts them.
    """

    def __init__(self, folder: Path, dtype: str, batch_tokens: int) -> None:
        """Load a checkpoint, on the GPU if there is one.

        Args:
            folder: config.json, *.safetensors and a tokenizer with a chat template.
            dtype: float32, bfloat16 or float16.
            batch_tokens: padded tokens in one forward pass; a single longer text is a pass of its own.

        Raises:
            ModelError: it is no sequence classifier with one output and all its weights, or has no chat template.
        """
        self._tokenizer = references.load_tokenizer(folder)
        self._model = _load(folder, dtype)
        if not self._tokenizer.chat_template:
            raise ModelError(
                f"{folder}: the tokenizer has no chat template, so it is unknown how this reward model was shown a "
                "prompt and a response; add the one that it was trained with as chat_template.jinja"
            )
        self._pad = own_padding(self._model)
        self._batch_tokens = batch_tokens
        stated = int(self._tokenizer.model_max_length)
        self._context = min(stated, context(self._model) or stated)
        self.cut = 0
        """Different pairs of a prompt and a response that were cut since loading."""

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """The model's output for each response, which may be any number; equal responses are read once.

        Raises:
            ModelError: the chat template alone is longer than the model's context.
        """
        from pairloop.models.packed import packed_linears

        asked = dict.fromkeys(
            (prompt, text) for prompt, texts in zip(prompts, candidates, strict=True) for text in texts
        )
        rows = [self._encode(prompt, text) for prompt, text in asked]
        with packed_linears(self._model):
            score_of = dict(zip(asked, self._outputs(rows), strict=True))
        return [[score_of[prompt, text] for text in texts] for prompt, texts in zip(prompts, candidates, strict=True)]

    def _encode(self, prompt: str, response: str) -> list[int]:
        ids = chat.encode_exchange(self._tokenizer, prompt, response)
        if len(ids) <= self._context:
            return ids
        self.cut += 1
        half = self._context // 2
        prompt = _longest(prompt, lambda text: len(chat.encode_exchange(self._tokenizer, text, "")) <= half)
        response = _longest(
            response, lambda text: len(chat.encode_exchange(self._tokenizer, prompt, text)) <= self._context
        )
        ids = chat.encode_exchange(self._tokenizer, prompt, response)
        if len(ids) > self._context:
            raise ModelError(
                f"{self._tokenizer.name_or_path}: the chat template alone takes {len(ids)} tokens, and the model reads "
                f"{self._context}"
            )
        return ids

    def _outputs(self, rows: Sequence[list[int]]) -> list[float]:
        """One number for each row, whatever rows are beside it."""
        import torch

        found = [0.0] * len(rows)
        check_ids(self._model, rows)
        with torch.inference_mode():
            for batch in batches([len(row) for row in rows], self._batch_tokens):
                logits = self._logits([rows[i] for i in batch])[:, 0].float()
                for i, logit in zip(batch, logits.tolist(), strict=True):
                    found[i] = logit
        return found

    def _logits(self, rows: Sequence[list[int]]) -> Any:
        """The model's output [B, 1] for rows of which the first is the longest."""
        import torch

        width, device = len(rows[0]), self._model.device
        pad = self._pad if self._pad is not None else _filler(rows)
        # A decoder reads its score at a row's last token that is not the config's padding.
        self._model.config.get_text_config().pad_token_id = pad
        # On the right for every model, so that positions count from 0 in any batch.
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        mask = (torch.arange(width, device=device) < lengths[:, None]).long()
        return self._model(input_ids=ids, attention_mask=mask).logits


def _load(folder: Path, dtype: str) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        _check_kind(config, folder)
        model, found = AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{folder}: the reward model cannot be loaded ({reason})") from error
    missing = sorted(found["missing_keys"])
    if missing:
        raise ModelError(
            f"{folder}: the weights lack {len(missing)} of the reward model's, such as {missing[0]}, which would be "
            "random; it needs a checkpoint that was trained as a sequence classifier"
        )
    return model.to(references.device()).eval()


def _check_kind(config: Any, folder: Path) -> None:
    kinds = config.architectures or []
    if kinds and not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise ModelError(
            f"{folder}: config.json says {', '.join(kinds)}, but a reward model is a sequence classifier "
            "(...ForSequenceClassification)"
        )
    if config.num_labels != 1:
        raise ModelError(f"{folder}: the model has {config.num_labels} outputs, but a reward model has one")


def _filler(rows: Sequence[list[int]]) -> int:
    """A token that no row ends in, so that each is read to its end.

    Not the tokenizer's: where that pads with the end token, and the template ends in it too, the score would be read
    before the end.
    """
    ends = {row[-1] for row in rows}
    return next(i for i in count() if i not in ends)


def _longest(text: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning of a text that fits."""
    return text[: bisect.bisect_left(range(1, len(text) + 1), True, key=lambda length: not fits(text[:length]))]
