"""PairRM: which of two responses to a prompt is better, from the ranker of the published recipe.

Jiang, Ren and Lin, LLM-Blender (ACL 2023); weights llm-blender/PairRM-hf (MIT). The numbers are those of llm_blender
0.0.2's `Blender.rank(return_scores=True, batch_size=1)`. With a larger batch size it cuts a response by the longest
prompt of its batch, so that its scores depend on the order of the data; here each prompt counts by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairloop.errors import RankingError
from pairloop.rankers import advantages
from pairloop.rankers.pairrm import deberta
from pairloop.rankers.pairrm.checkpoint import FIRST, SECOND, SOURCE, controls, load
from pairloop.rankers.pairrm.forms import READINGS, Reading
from pairloop.rankers.prefix import batches


@dataclass(frozen=True)
class _Pair:
    """One comparison: token ids of the prompt and of both responses, each from its [CLS] to its [SEP]."""

    source: list[int]
    left: list[int]
    right: list[int]

    @property
    def ids(self) -> list[int]:
        return [*self.source, *self.left, *self.right]

    @property
    def length(self) -> int:
        return len(self.source) + len(self.left) + len(self.right)

    @property
    def positions(self) -> list[int]:
        """Where the tokens stand whose states are compared: the second of each part."""
        return [1, len(self.source) + 1, len(self.source) + len(self.left) + 1]


class PairRM:
    """Ranks by comparing every two responses in both orders, since it does not answer both alike.

    A score is relative to the other responses to the same prompt: those of a prompt sum to 0. PairRM cuts prompts
    longer than 1,224 tokens and responses longer than 412 (1,004 beside a short prompt) on the right.
    """

    def __init__(self, folder: Path, dtype: str, batch_tokens: int, reading: Reading = READINGS["pairrm"]) -> None:
        """Load a checkpoint.

        Args:
            folder: config.json, model.safetensors and tokenizer.json, as in llm-blender/PairRM-hf or
                llm-blender/PairRM.
            dtype: float32, bfloat16 or float16.
            batch_tokens: padded tokens in one forward pass; a single longer comparison is a pass of its own.
            reading: how the checkpoint was trained to read a prompt.

        Raises:
            ModelError: the folder does not hold PairRM.
        """
        self._checkpoint = load(folder, dtype, reading)
        self._reading = reading
        self._tokenizer = self._checkpoint.tokenizer
        self._batch_tokens = batch_tokens
        self._spelled = _spelled(self._tokenizer)
        self._pad, self._start, self._end, self._second = (
            self._tokenizer.token_to_id(token) for token in ("[PAD]", "[CLS]", "[SEP]", SECOND)
        )

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Mean logit by which each response beats the n of its prompt, itself among them: mean over j of M_ij - M_ji.

        Raises:
            RankingError: a prompt has fewer than two responses.
        """
        return [advantages(logits) for logits in self.comparisons(prompts, candidates)]

    def comparisons(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[list[float]]]:
        """Logits of every ordered pair of responses.

        Args:
            prompts: P raw user prompts, without a chat template.
            candidates: for each prompt its n responses, at least two; n may differ between prompts.

        Returns:
            P matrices M of n lists of n: M[i][j] is the logit that response i, shown first, is better than response
            j. 0 where both are the same text, which is not asked.

        Raises:
            RankingError: a prompt has fewer than two responses.
        """
        unique = [list(dict.fromkeys(texts)) for texts in candidates]
        pairs: list[_Pair] = []
        for prompt, texts, different in zip(prompts, candidates, unique, strict=True):
            if len(texts) < 2:
                raise RankingError(
                    f"the prompt {prompt!r} has {len(texts)} responses: pairrm compares them with each other, so it "
                    "needs at least two"
                )
            pairs += self._pairs(prompt, different)
        following = iter(self._logits(pairs))
        return [
            _matrix(texts, {(left, right): next(following) for left in own for right in own if left != right})
            for texts, own in zip(candidates, unique, strict=True)
        ]

    def _pairs(self, prompt: str, texts: Sequence[str]) -> Iterator[_Pair]:
        """Every two different texts in both orders."""
        if len(texts) < 2:
            return
        longest_source, longest = self._checkpoint.source_tokens, self._checkpoint.candidate_tokens
        source = self._encode(SOURCE, self._reading.text(prompt), longest_source, self._reading.keeps_end)
        room = longest + (longest_source - len(source)) // 2
        lefts = [self._encode(FIRST, text, room) for text in texts]
        rights = [[ids[0], self._second, *ids[2:]] for ids in lefts]
        for i, left in enumerate(lefts):
            for j, right in enumerate(rights):
                if i != j:
                    yield _Pair(source, left, right)

    def _encode(self, prefix: str, text: str, limit: int, keeps_end: bool = False) -> list[int]:
        """[CLS], prefix, text and [SEP]; of more than `limit` tokens, the text's last, or first, are left out."""
        # The prefix is encoded with the text, since that decides how the text's first word is read.
        told = self._tokenizer.encode((prefix + text).replace("[SEP]", " "), add_special_tokens=False).ids
        body = [piece for token in told[1:] for piece in self._spelled.get(token, (token,))]
        kept = body[max(0, len(body) - limit + 3) :] if keeps_end else body[: limit - 3]
        return [self._start, told[0], *kept, self._end]

    def _logits(self, pairs: Sequence[_Pair]) -> list[float]:
        import torch

        from pairloop.models.packed import packed_linears

        found, body = [0.0] * len(pairs), self._checkpoint.body
        with torch.inference_mode(), packed_linears(body):
            relative = deberta.relative(body) if deberta.applies(body) else None
            for batch in batches([pair.length for pair in pairs], self._batch_tokens):
                for i, logit in zip(batch, self._compare([pairs[i] for i in batch], relative), strict=True):
                    found[i] = logit
        return found

    def _compare(self, pairs: Sequence[_Pair], relative: Any) -> list[float]:
        """Logits of one forward pass; `relative` is None where transformers' own is to be used."""
        import torch

        source, left, right = self._states(pairs, relative).float().unbind(1)
        ahead = self._checkpoint.head(torch.cat([source, left], -1)) - self._checkpoint.head(
            torch.cat([source, right], -1)
        )
        return [float(logit) for logit in ahead.mean(-1)]

    def _states(self, pairs: Sequence[_Pair], relative: Any) -> Any:
        """States [B, 3, H] of the tokens that are compared."""
        import torch

        body, width = self._checkpoint.body, max(pair.length for pair in pairs)
        if relative is not None:
            return deberta.states(body, relative, [pair.ids for pair in pairs], [pair.positions for pair in pairs])
        ids = torch.tensor([pair.ids + [self._pad] * (width - pair.length) for pair in pairs], device=body.device)
        lengths = torch.tensor([pair.length for pair in pairs], device=body.device)
        mask = (torch.arange(width, device=body.device) < lengths[:, None]).long()
        states = body(input_ids=ids, attention_mask=mask).last_hidden_state
        rows = torch.arange(len(pairs), device=body.device)[:, None]
        return states[rows, torch.tensor([pair.positions for pair in pairs], device=body.device)]


def _matrix(texts: Sequence[str], logits: dict[tuple[str, str], float]) -> list[list[float]]:
    return [[logits.get((left, right), 0.0) for right in texts] for left in texts]


def _spelled(tokenizer: Any) -> dict[int, list[int]]:
    """For each control token the ids of its characters as plain text, cut after the first so that it stays text.

    They stand in for a control token that the tokenizer found in a user's text. By id rather than by spelling, since
    the normaliser turns other characters (full-width ones) into control tokens too.
    """
    return {
        token: [
            piece
            for part in (content[:1], content[1:])
            for piece in tokenizer.encode(part, add_special_tokens=False).ids
        ]
        for token, content in controls(tokenizer).items()
    }
