"""The package llm_blender (0.0.2) itself, for those who want the original: PairRM's scores at several times the cost.

`pairrm` gives the same scores without it. The package is an extra of its own, since nobody maintains it: it needs two
names that transformers 5 has taken away.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pairloop.errors import ModelError, RankingError
from pairloop.rankers.pairrm.checkpoint import EITHER, Checkpoint, controls, load


class LLMBlender:
    """Ranks as `Blender.rank(return_scores=True, batch_size=1)`: the mean logit by which a response beats the others.

    No batch size is offered: with any other than 1 the package cuts a response by the longest prompt of its batch, so
    that scores depend on which prompts come together. It computes in float32.
    """

    def __init__(self, folder: Path) -> None:
        """Load a checkpoint.

        Args:
            folder: config.json, model.safetensors and tokenizer.json, as in llm-blender/PairRM or
                llm-blender/PairRM-hf. Nothing else is fetched: not the backbone that the first one names.

        Raises:
            ModelError: the package is not installed, or the folder does not hold PairRM.
        """
        package = _package()
        checkpoint = load(folder, "float32")
        if checkpoint.tokenizer.token_to_id(EITHER) is None:
            raise ModelError(f"{folder}: tokenizer.json has no token {EITHER}, which llm_blender needs")
        self.blender = _blender(package, checkpoint, folder)
        """The package's own object, whose other methods are as documented there."""
        self._tokenizer = checkpoint.tokenizer
        self._controls = controls(checkpoint.tokenizer)

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Scores of a prompt sum to 0 and are relative to its other responses.

        Args:
            prompts: P raw user prompts, without a chat template.
            candidates: for each prompt its n responses, at least two and as many as of the first prompt.

        Raises:
            RankingError: a prompt has fewer than two responses or another number than the first one, or a text spells
                out a control token, which the package would take for one of its own.
        """
        for prompt, texts in zip(prompts, candidates, strict=True):
            _check_count(prompt, texts, len(candidates[0]))
            self._check_text(prompt, prompt)
            for text in texts:
                self._check_text(prompt, text)
        if not prompts:
            return []
        asked = list(prompts), [list(texts) for texts in candidates]
        found = self.blender.rank(*asked, return_scores=True, batch_size=1, disable_tqdm=True)
        return [[float(score) for score in own] for own in found]

    def _check_text(self, prompt: str, text: str) -> None:
        """By id, not by spelling: the normaliser turns other characters into control tokens too."""
        ids = self._tokenizer.encode((EITHER + text).replace("[SEP]", " "), add_special_tokens=False).ids
        for token in ids[1:]:
            if token in self._controls:
                where = "the prompt" if text is prompt else f"the response {text!r} to the prompt"
                raise RankingError(
                    f"{where} {prompt!r} spells out {self._controls[token]}, which llm_blender would read as a control "
                    "token. Use the ranker pairrm, which reads it as text"
                )


def _check_count(prompt: str, texts: Sequence[str], needed: int) -> None:
    if len(texts) < 2:
        raise RankingError(
            f"the prompt {prompt!r} has {len(texts)} responses: llm_blender compares them with each other, so it needs "
            "at least two"
        )
    if len(texts) != needed:
        raise RankingError(
            f"the prompt {prompt!r} has {len(texts)} responses and the first prompt {needed}: llm_blender needs as "
            "many for each. The ranker pairrm does not"
        )


def _package() -> Any:
    """llm_blender, made to run beside transformers 5."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from transformers import PreTrainedTokenizerBase
    from transformers.utils import hub

    hub.TRANSFORMERS_CACHE = HF_HUB_CACHE  # the package imports it, but nothing is looked up there
    PreTrainedTokenizerBase.batch_encode_plus = PreTrainedTokenizerBase.__call__
    try:
        import llm_blender
    except ImportError as error:
        raise ModelError(
            f"the ranker llm_blender needs a package that cannot be imported ({error}): "
            "in the project's folder, pip install '.[llm-blender]'. The ranker pairrm gives the same scores without it"
        ) from error
    return llm_blender


def _blender(package: Any, checkpoint: Checkpoint, folder: Path) -> Any:
    """The package's ranker over the same weights.

    It first builds a backbone and its tokenizer from a folder or the hub, then loads the checkpoint over it. Here the
    backbone is a copy of the checkpoint's own, in float32 and with the stored tokenizer. The one that is published,
    microsoft/deberta-v3-large, is a pickle in float16, and transformers 5 would keep both its precision and a
    normaliser of another kind.
    """
    stated = {
        "ranker_type": "pairranker",
        "model_type": "deberta",
        "model_name": "body",
        "source_maxlength": checkpoint.source_tokens,
        "candidate_maxlength": checkpoint.candidate_tokens,
        "n_tasks": checkpoint.head[4].out_features,
        "fp16": False,
    }
    weights = (folder / "model.safetensors").resolve()
    # The package reads meaning into names (left padding for "llama", foreign code for "phi"), so they are relative.
    with TemporaryDirectory() as scratch, chdir(scratch), _quiet():
        checkpoint.body.save_pretrained("body")
        _save_tokenizer(checkpoint.tokenizer, Path("body"))
        Path("ranker").mkdir()
        Path("ranker/config.json").write_text(json.dumps(stated))
        Path("ranker/model.safetensors").symlink_to(weights)
        blender = package.Blender()
        blender.loadranker("ranker", device=checkpoint.body.device.type)
    return blender


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "unk", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the package tells of a ranker and a fuser that nobody asked for."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
