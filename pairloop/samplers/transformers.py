"""Sampling with any causal language model of transformers: the same seeds give the same responses, on a CPU too."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from pairloop import chat
from pairloop.errors import ModelError
from pairloop.samplers import Request, Response, Sampling

_PREFILL_TOKENS = 512
"""Prompts are read together, padding included, up to this many tokens: enough to keep a processor busy, and few enough
that prompts of like length meet. No figure of quality."""


class TransformersSampler:
    """Answers prompts with a model in memory.

    Each prompt is read once and its keys and values are shared out to its responses. All responses of a call are then
    decoded together, and leave the batch when they end. Every response draws its tokens from a random stream of its
    own, so that it depends on nothing but the model, the prompt and its seed; only the float sums behind its logits may
    round differently in other company.
    """

    def __init__(self, model: Any, tokenizer: Any, sampling: Sampling) -> None:
        """
        Args:
            model: a causal language model of transformers, on any device; it is set to evaluation mode. Of its
                generation config only the end tokens count.
            tokenizer: the model's, with a chat template.
            sampling: how tokens are chosen.
        """
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.sampling = sampling
        self._ends = frozenset(chat.end_ids(model, tokenizer))
        self._opening = self._shared_opening()
        self._arguments = frozenset(inspect.signature(model.forward).parameters)

    def sample(self, requests: Sequence[Request]) -> list[list[Response]]:
        """As `Sampler.sample`. Takes as many rows into memory as there are seeds in all requests together."""
        import torch

        from pairloop.packed import packed_linears

        prompts = [chat.encode_prompt(self.tokenizer, request.prompt) for request in requests]
        self._check_lengths(prompts)
        order = sorted((i for i, r in enumerate(requests) if r.seeds), key=lambda i: len(prompts[i]))
        responses: list[list[Response]] = [[] for _ in requests]
        if not order:
            return responses
        with torch.inference_mode(), packed_linears(self.model):
            answers = self._answers([prompts[i] for i in order], [requests[i].seeds for i in order])
        for i in order:
            responses[i] = [self._response(next(answers)) for _ in requests[i].seeds]
        return responses

    def _shared_opening(self) -> list[int]:
        """What all prompts begin with, such as a template's system prompt, if it can be read once for all."""
        from pairloop.samplers import cache

        # A sliding window counts columns, so the padding that follows a shared opening would push it out of sight.
        return [] if cache.windowed(self.model.config) else chat.opening_ids(self.tokenizer)

    def _check_lengths(self, prompts: list[list[int]]) -> None:
        context = getattr(self.model.config, "max_position_embeddings", None)
        longest = max(map(len, prompts), default=0)
        if context is not None and longest + self.sampling.max_new_tokens > context:
            raise ModelError(
                f"a prompt of {longest} tokens and {self.sampling.max_new_tokens} new ones do not fit the model's "
                f"context of {context}. Leave out longer prompts, or ask for fewer new tokens."
            )

    def _answers(self, prompts: list[list[int]], seeds: list[tuple[int, ...]]) -> Iterator[list[int]]:
        """The tokens of every response: of the first prompt's seeds, then of the second's, and so on."""
        import torch

        device = self.model.device
        steps = self.sampling.max_new_tokens
        counts = torch.tensor([len(s) for s in seeds])
        cache, logits = self._prefill(prompts, counts)
        lengths = torch.tensor([len(prompt) for prompt in prompts]).repeat_interleave(counts)
        width, columns = int(lengths.max()), torch.arange(int(lengths.max()) + steps)
        opening = len(self._opening)
        # The opening stands first; the padding, if any, between it and the rest of the prompt.
        mask = ((columns < opening) | (columns >= width - lengths[:, None] + opening)).to(device)
        positions = lengths.to(device)
        uniforms = np.stack(
            [np.random.Generator(np.random.Philox(key=s)).random(steps) for each in seeds for s in each]
        )
        answers: list[list[int]] = [[] for _ in uniforms]
        live = np.arange(len(answers))
        for step in range(steps):
            tokens = choose(logits, uniforms[live, step], self.sampling)
            for row, token in zip(live, tokens, strict=True):
                answers[row].append(int(token))
            order = _closed_up([int(token) not in self._ends for token in tokens])
            if not len(order) or step == steps - 1:
                break
            if len(order) < len(live):
                cache.keep(order)
                live, tokens = live[order], tokens[order]
            inputs = torch.from_numpy(tokens[:, None]).to(device)
            logits = self._forward(inputs, mask[live, : width + step + 1], positions[live, None] + step, cache)
        return iter(answers)

    def _prefill(self, prompts: list[list[int]], counts: Any) -> tuple[Any, Any]:
        """A cache with `counts[p]` rows for each prompt p, and the logits [rows, vocabulary] of their first tokens."""
        import torch

        from pairloop.samplers import cache

        opening = len(self._opening)
        rests = [prompt[opening:] for prompt in prompts]
        read = self._read_opening()
        batches, logits = [], []
        groups = list(_groups([len(rest) for rest in rests]))
        for group in groups:
            batch = cache.repeated(read, len(rests[group]))
            inputs, mask = _left_padded(rests[group], self.tokenizer.pad_token_id, self.model.device)
            positions = (opening + mask.cumsum(-1) - 1).clamp(min=0)
            mask = torch.cat([mask.new_ones(len(mask), opening), mask], dim=1)
            logits.append(self._forward(inputs, mask, positions, batch))
            batches.append(batch)
        rows = cache.joined(batches, [counts[group] for group in groups], opening, self.sampling.max_new_tokens)
        return rows, torch.cat(logits).repeat_interleave(counts.to(self.model.device), dim=0)

    def _read_opening(self) -> Any:
        """A cache of one row that holds the opening."""
        import torch

        from pairloop.samplers import cache

        read = cache.empty(self.model.config)
        if self._opening:
            inputs = torch.tensor([self._opening], device=self.model.device)
            positions = torch.arange(len(self._opening), device=self.model.device)[None]
            self._forward(inputs, torch.ones_like(inputs), positions, read)
        return read

    def _forward(self, inputs: Any, mask: Any, positions: Any, cache: Any) -> Any:
        """Logits [rows, vocabulary] after the last column of `inputs`, whose keys and values are added to `cache`."""
        arguments = {
            "input_ids": inputs,
            "attention_mask": mask.long(),
            "position_ids": positions,
            "past_key_values": cache,
            "use_cache": True,
            "logits_to_keep": 1,
        }
        known = {name: value for name, value in arguments.items() if name in self._arguments}
        return self.model(**known).logits[:, -1]

    def _response(self, tokens: list[int]) -> Response:
        reason: Literal["stop", "length"] = "stop" if tokens[-1] in self._ends else "length"
        return Response(chat.decode(self.tokenizer, tokens), reason, len(tokens))


def choose(logits: Any, uniforms: Any, sampling: Sampling) -> Any:
    """One token for each row, by inverting the cumulative distribution at a given number.

    As in transformers and vLLM, the logits are divided by the temperature, all but the `top_k` are dropped, the rest is
    normalised, and of it the smallest set of likeliest tokens that reaches `top_p` is kept.

    Args:
        logits: torch tensor [rows, vocabulary].
        uniforms: numpy array [rows], numbers from 0, below 1.
        sampling: temperature, top_p and top_k.

    Returns:
        numpy array [rows] of token ids.

    Raises:
        ModelError: a logit is not a number.
    """
    greedy = sampling.temperature == 0
    best = logits.max(dim=-1, keepdim=True) if greedy else logits.topk(min(sampling.top_k, logits.shape[-1]), dim=-1)
    values, ids = best.values.double().cpu().numpy(), best.indices.cpu().numpy()
    if not np.isfinite(values[:, 0]).all():
        raise ModelError("the model's logits are not finite numbers: its weights are damaged, or training diverged")
    if greedy:
        return ids[:, 0]
    probabilities = np.exp((values - values[:, :1]) / sampling.temperature)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    before = probabilities.cumsum(axis=1) - probabilities
    nucleus = np.where(before < sampling.top_p, probabilities, 0)
    cumulative = nucleus.cumsum(axis=1)
    index = (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(axis=1)
    index = np.minimum(index, (nucleus > 0).sum(axis=1) - 1)  # rounding can carry a number just below 1 past the end
    return np.take_along_axis(ids, index[:, None], axis=1)[:, 0]


def _groups(lengths: list[int]) -> Iterator[slice]:
    """Cut sorted lengths into slices that, padded to their longest, have at most _PREFILL_TOKENS tokens, or one row."""
    start = 0
    for end, length in enumerate(lengths):
        if end > start and length * (end + 1 - start) > _PREFILL_TOKENS:
            yield slice(start, end)
            start = end
    yield slice(start, len(lengths))


def _left_padded(prompts: list[list[int]], padding: int, device: Any) -> tuple[Any, Any]:
    """Token ids and mask, [prompts, longest] each."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[padding] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids.to(device), mask.to(device)


def _closed_up(going: list[bool]) -> Any:
    """The rows that go on, in their places; those beyond the new end are moved into the gaps."""
    left = sum(going)
    movers = iter([row for row in range(left, len(going)) if going[row]])
    return np.array([row if going[row] else next(movers) for row in range(left)], dtype=np.int64)
