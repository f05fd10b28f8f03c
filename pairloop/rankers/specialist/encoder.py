"""A small sentence encoder as the ranker: it reads prompt and response together and gives one score. A cross-encoder.

`train_encoder` fits it to comparisons: P(a beats b) = sigmoid(score(a) - score(b)), the model of Bradley and Terry. It
costs a tenth of what the frozen base costs, and is easier to fool.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from pairloop.errors import ModelError, TrainingError
from pairloop.files.records import read_json, write_json
from pairloop.models import chat, fetch, references
from pairloop.params import Encoder as EncoderParams
from pairloop.rankers import Ranker
from pairloop.rankers.prefix import batches, check_ids, context, own_padding
from pairloop.rankers.specialist.comparisons import Comparison
from pairloop.work.shards import seed_of

_WEIGHTS, _DESCRIPTION = "encoder.safetensors", "encoder.json"
_HEAD = "head"


class Encoder:
    """Ranks by an encoder whose top layers and head were trained on comparisons."""

    def __init__(self, model: Any, tokenizer: Any, max_tokens: int, batch_tokens: int) -> None:
        """
        Args:
            model: an encoder of transformers with a linear layer `head` from its hidden size to 1.
            tokenizer: the encoder's.
            max_tokens: prompt and response together.
            batch_tokens: padded tokens in one forward pass.
        """
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._batch_tokens = batch_tokens

    def score(self, prompts: Sequence[str], candidates: Sequence[Sequence[str]]) -> list[list[float]]:
        """Log odds of winning against an answer with score 0. An empty response is read as such."""
        import torch

        from pairloop.models.packed import packed_linears

        pairs = [(prompt, text) for prompt, texts in zip(prompts, candidates, strict=True) for text in texts]
        ids = [self.encode(*pair) for pair in pairs]
        scores = [0.0] * len(ids)
        check_ids(self._model, [own for own, _ in ids])
        with torch.inference_mode(), packed_linears(self._model):
            for batch in batches([len(own) for own, _ in ids], self._batch_tokens):
                for i, score in zip(batch, self.forward([ids[i] for i in batch]).tolist(), strict=True):
                    scores[i] = score
        each = iter(scores)
        return [[next(each) for _ in texts] for texts in candidates]

    def encode(self, prompt: str, response: str) -> tuple[list[int], int]:
        """Token ids of [CLS] prompt [SEP] response [SEP], and how many of them the first part has.

        Control tokens spelled out in a text stay text. What does not fit is cut on the right: of the prompt what goes
        beyond half of the room, of the response what then is left over.
        """
        own = self._tokenizer
        room = self._max_tokens - 3
        first = chat.encode_response(own, prompt, end=False)[: room // 2]
        second = chat.encode_response(own, response, end=False)[: room - len(first)]
        start = [own.cls_token_id, *first, own.sep_token_id]
        return [*start, *second, own.sep_token_id], len(start)

    def forward(self, encoded: Sequence[tuple[list[int], int]]) -> Any:
        """Scores [B] of token ids as `encode` gives them: the head on the mean state over all tokens."""
        import torch

        device, width = self._model.device, max(len(ids) for ids, _ in encoded)
        padding = own_padding(self._model) or 0  # RoBERTa counts positions by it; others need only the mask
        ids = torch.tensor([own + [padding] * (width - len(own)) for own, _ in encoded], device=device)
        lengths = torch.tensor([len(own) for own, _ in encoded], device=device)[:, None]
        columns = torch.arange(width, device=device)
        mask = columns < lengths
        second = (columns >= torch.tensor([start for _, start in encoded], device=device)[:, None]) & mask
        inputs = {"input_ids": ids, "attention_mask": mask.long()}
        if getattr(self._model.config, "type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = second.long()
        states = self._model(**inputs).last_hidden_state.float()
        return self._model.head((states * mask[..., None]).sum(1) / lengths)[:, 0]


def load(folder: Path, batch_tokens: int) -> Encoder:
    """The encoder that `train_encoder` left in a folder; the published layers come from where they were fetched.

    Raises:
        DataError: there is no encoder.json.
        ModelError: the weights are damaged, or the published encoder is another one than it was trained on.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    described = read_json(folder / _DESCRIPTION)
    params = EncoderParams(**described["parameters"])
    source = _source(params)
    if references.fingerprint(source) != described["files"]:
        raise ModelError(f"{folder}: the encoder was trained on other files than {source} holds. Run `teach` again")
    model, tokenizer = _published(source)
    try:
        model.load_state_dict(load_file(folder / _WEIGHTS), strict=False)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{folder / _WEIGHTS}: cannot be read ({error}). Run the stage `teach` again") from error
    return Encoder(model, tokenizer, params.max_tokens, batch_tokens)


def train_encoder(
    comparisons: Sequence[Comparison], params: EncoderParams, folder: Path, seed: int, batch_tokens: int
) -> Encoder:
    """Fit an encoder to those comparisons that are to be fitted, and write what was trained into `folder`.

    On one machine the same inputs give the same bytes. Nothing is drawn but the order of the pairs.

    Args:
        comparisons: of which `fitted` ones are learnt from.
        params: model and hyper-parameters.
        folder: gets encoder.safetensors (trained layers and head) and encoder.json.
        seed: the run's seed.
        batch_tokens: padded tokens in one forward pass when it scores.

    Returns:
        The trained encoder.

    Raises:
        TrainingError: there is nothing to fit, or a loss that is not a number.
        ModelError: the encoder cannot be had, or has fewer layers than are to be trained.
    """
    from safetensors.torch import save

    source = _source(params)
    model, tokenizer = _published(source)
    room = context(model)
    if room is not None and params.max_tokens > room:
        raise ModelError(f"encoder.max_tokens is {params.max_tokens}, but encoder.model reads {room} tokens: lower it")
    encoder = Encoder(model, tokenizer, params.max_tokens, batch_tokens)
    trained = _trainable(model, params.layers)
    fitted = [comparison for comparison in comparisons if comparison.fitted]
    if not fitted:
        raise TrainingError("no comparison is left to fit the encoder to: give more prompts (teach.prompts)")
    _fit(encoder, list(trained.values()), fitted, params, seed)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{_WEIGHTS}.partial"
    partial.write_bytes(save({name: value.detach().cpu().contiguous() for name, value in trained.items()}))
    partial.replace(folder / _WEIGHTS)
    write_json(folder / _DESCRIPTION, {"parameters": params.model_dump(), "files": references.fingerprint(source)})
    return encoder


def _source(params: EncoderParams) -> Path:
    return fetch.fetch(params.model, params.sha256, references.cache_root(), "encoder.model").folder


def _published(source: Path) -> tuple[Any, Any]:
    """The encoder as it was published, with a head of zeros, and its tokenizer."""
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        settings: Mapping[str, Any] = {"trust_remote_code": False}
        model = AutoModel.from_pretrained(source, dtype=torch.float32, use_safetensors=True, **settings)
        tokenizer = AutoTokenizer.from_pretrained(source, **settings)
    except (OSError, ValueError) as error:
        raise ModelError(f"encoder.model: {source} cannot be loaded ({error})") from error
    if None in (tokenizer.cls_token_id, tokenizer.sep_token_id):
        raise ModelError(f"encoder.model: the tokenizer in {source} lacks [CLS] or [SEP]: it is no encoder")
    model.head = torch.nn.Linear(model.config.hidden_size, 1)
    torch.nn.init.zeros_(model.head.weight)
    torch.nn.init.zeros_(model.head.bias)
    return model.to(references.device()), tokenizer


def _trainable(model: Any, layers: int) -> dict[str, Any]:
    """Freeze all but the top layers and the head; the parameters that are left, by name."""
    count = model.config.num_hidden_layers
    if layers > count:
        raise ModelError(f"encoder.layers is {layers}, but encoder.model has {count} layers")
    top = tuple(f".layer.{i}." for i in range(count - layers, count))
    found = {}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(f"{_HEAD}.") or any(part in f".{name}" for part in top))
        if parameter.requires_grad:
            found[name] = parameter
    if layers and len(found) == len(list(model.head.parameters())):
        raise ModelError(f"encoder.model is a {model.config.model_type}, whose layers have other names than BERT's")
    return found


def _fit(encoder: Encoder, parameters: list[Any], fitted: list[Comparison], params: EncoderParams, seed: int) -> None:
    import torch
    from torch.nn.functional import logsigmoid

    sides = [[encoder.encode(c.prompt, text) for text in (c.better, c.worse)] for c in fitted]
    optimizer = torch.optim.AdamW(parameters, lr=params.learning_rate)
    for epoch in range(params.epochs):
        order = list(range(len(sides)))
        Random(seed_of(seed, "encoder", epoch)).shuffle(order)
        for start in range(0, len(order), params.batch_pairs):
            batch = [sides[i] for i in order[start : start + params.batch_pairs]]
            better, worse = encoder.forward([pair[k] for k in (0, 1) for pair in batch]).chunk(2)
            loss = -logsigmoid(better - worse).mean()
            if not torch.isfinite(loss):
                raise TrainingError(f"encoder: the loss is {float(loss.detach())}. Lower encoder.learning_rate")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def score_comparisons(ranker: Ranker, comparisons: Sequence[Comparison]) -> dict[tuple[str, str], float]:
    """Scores of all texts in comparisons, by prompt and text, as `teach.measure` wants them."""
    texts: dict[str, dict[str, None]] = {}
    for comparison in comparisons:
        texts.setdefault(comparison.prompt, {}).update(dict.fromkeys([comparison.better, comparison.worse]))
    found = ranker.score(list(texts), [list(own) for own in texts.values()])
    return {
        (prompt, text): value
        for (prompt, own), scores in zip(texts.items(), found, strict=True)
        for text, value in zip(own, scores, strict=True)
    }
