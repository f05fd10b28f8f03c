"""transformers' own server, told which models there are: it needs no GPU, and answers a model's requests in turn.

`transformers serve` itself takes any name that a client sends for a folder or for a model of the hub to load, knows no
base that a pointer names, and reads control tokens that a text spells out. Its parts are used here, with a manager of
models that has those that are served and no others, and a tokenizer that encodes conversations as `models.chat` does.
"""

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pairloop.errors import EngineError, PairloopError
from pairloop.models import chat, references
from pairloop.serving import BASE, Offer

_MOST_TOKENS = 1024
"""Of an answer, where a request states no limit: as `transformers serve` has it."""

_ROUTES = ("/v1/chat/completions", "/v1/models", "/health")
"""What is served of transformers' server: the rest loads and unloads models, or is for other kinds of them."""


def run(app: Any, listening: socket.socket) -> None:
    """Serve an application at a bound socket until the process is interrupted."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3))
    # Of the answers that an interrupt breaks off there would be a traceback each.
    logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
    server.run(sockets=[listening])


def application(offer: Offer) -> Any:
    """The server as an ASGI application, with all models in memory.

    Raises:
        EngineError: what transformers' server needs is not installed.
        ModelError: a model cannot be loaded.
    """
    _refuse_without_packages()
    from starlette.exceptions import HTTPException
    from transformers.cli.serving.server import build_server
    from transformers.cli.serving.utils import GenerationState
    from transformers.utils.logging import set_verbosity_error

    set_verbosity_error()  # a line for each request, and of what greedy answers do without
    tokenizer = references.load_tokenizer(offer.base)
    models = {name: _model(offer, name, tokenizer) for name in offer.names}
    state = GenerationState()
    handler = _chat_handler(_manager(models, offer), state, tokenizer)
    app = build_server(handler.model_manager, handler, *[None] * 4, generation_state=state)
    app.router.routes = [route for route in app.router.routes if route.path in _ROUTES]
    app.add_exception_handler(HTTPException, lambda _, error: _error(error.status_code, str(error.detail)))
    app.add_exception_handler(PairloopError, lambda _, error: _error(400, error.message))
    return app


def _refuse_without_packages() -> None:
    from transformers.utils.import_utils import is_serve_available

    if not is_serve_available():
        raise EngineError(
            "what transformers' server needs is not installed: `make serve` makes an environment that has it, or, in "
            "the project's folder, pip install '.[serve]'"
        )


def _model(offer: Offer, name: str, tokenizer: Any) -> Any:
    """A model in memory, whose generation config is what holds where a request says nothing else."""
    from transformers import GenerationConfig

    folder = offer.base if name == BASE else offer.iterations[name]
    model = references.load_policy(folder, offer.base, offer.dtype)
    model.generation_config = GenerationConfig(
        eos_token_id=chat.end_ids(model, tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        do_sample=offer.sampling.temperature > 0,
        temperature=offer.sampling.temperature or None,
        top_p=offer.sampling.top_p,
        top_k=offer.sampling.top_k,
    )
    model.generate = _penalising(model.generate)
    return model


def _penalising(generate: Callable[..., Any]) -> Callable[..., Any]:
    """A model's `generate` with a frequency penalty, which transformers has none of: as in `samplers.penalty`."""

    def penalised(*, input_ids: Any, generation_config: Any, **options: Any) -> Any:
        def lower(ids: Any, logits: Any) -> Any:
            told = ids[:, input_ids.shape[1] :]
            lowered = logits.new_full(told.shape, -generation_config.frequency_penalty)
            return logits.scatter_add(1, told, lowered)

        processors = [lower] if generation_config.frequency_penalty else []
        return generate(
            input_ids=input_ids, generation_config=generation_config, logits_processor=processors, **options
        )

    return penalised


def _manager(models: Mapping[str, Any], offer: Offer) -> Any:
    """A manager that has these models from the start, and loads nothing because a client names it."""
    from starlette.exceptions import HTTPException
    from transformers.cli.serving.model_manager import ModelManager

    tokenizer = _speaking(offer)

    class Models(ModelManager):
        def process_model_name(self, model_id: str) -> str:
            if model_id not in models:
                known = ", ".join(models)
                raise HTTPException(404, f"There is no model {model_id!r} here. Served are: {known}")
            return model_id

        def load_model_and_processor(self, model_id_and_revision: str, **_: Any) -> tuple[Any, Any]:
            return models[model_id_and_revision], tokenizer

        def get_gen_models(self, cache_dir: str | None = None) -> list[dict[str, Any]]:
            return [{"id": name, "object": "model", "created": 0, "owned_by": "pairloop"} for name in models]

    return Models()


def _speaking(offer: Offer) -> Any:
    """A tokenizer whose conversations are `chat`'s: no text becomes a control token, and today's date is no part."""
    import torch
    from transformers import BatchEncoding

    own, handed = (references.load_tokenizer(offer.base) for _ in range(2))

    def encode(turns: Sequence[Mapping[str, str]], **_: Any) -> Any:
        ids = torch.tensor([chat.encode_turns(own, turns)])
        return BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    handed.apply_chat_template = encode
    return handed


def _chat_handler(manager: Any, state: Any, tokenizer: Any) -> Any:
    """transformers' handler of chat completions, which says what is wrong with a request before it answers."""
    from starlette.exceptions import HTTPException
    from transformers.cli.serving.chat_completion import ChatCompletionHandler
    from transformers.cli.serving.utils import Modality

    class Chat(ChatCompletionHandler):
        async def handle_request(self, body: dict[str, Any], request_id: str) -> Any:
            if problem := _problem(body):
                raise HTTPException(400, problem)
            model, _ = manager.load_model_and_processor(manager.process_model_name(body["model"]))
            turns = self.get_processor_inputs_from_messages(body["messages"], Modality.LLM)
            limit = _limit(body, len(chat.encode_turns(tokenizer, turns)), references.context(model.config))
            return await super().handle_request(body | {"max_completion_tokens": limit}, request_id)

        def _build_generation_config(self, body: dict[str, Any], default: Any, use_cb: bool = False) -> Any:
            # transformers takes it for another penalty, which lowers what the prompt has as well.
            penalty = body.get("frequency_penalty")
            config = super()._build_generation_config(body | {"frequency_penalty": None}, default, use_cb)
            config.frequency_penalty = float(penalty or 0)
            # transformers samples only where the model's own configuration says so, whatever the temperature.
            config.do_sample = bool(config.temperature)
            if not config.do_sample:
                config.temperature = config.top_p = config.top_k = None
            return config

    return Chat(manager, state)


def _problem(body: Mapping[str, Any]) -> str | None:
    """What is wrong with a request, if it is something that transformers' server would fail at or pass over."""
    turns = body.get("messages")
    if not isinstance(body.get("model"), str):
        return "model is missing: it has to be the name of one"
    if not isinstance(turns, list) or not turns or not all(map(_turn, turns)):
        return "messages has to be a list of turns, each with a role and a content of text"
    if body.get("n") not in (None, 1):
        return f"n is {body['n']}, but this server gives one answer: ask several times"
    if not _is_penalty(body.get("frequency_penalty")):
        return f"frequency_penalty is {body['frequency_penalty']!r}: it has to be a number from -2 to 2"
    if body.get("presence_penalty"):
        return "presence_penalty is not served here: frequency_penalty is"
    if body.get("tools"):
        return "tools are not served here"
    return None


def _is_penalty(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and -2 <= value <= 2)


def _turn(turn: Any) -> bool:
    content = turn.get("content") if isinstance(turn, dict) and isinstance(turn.get("role"), str) else None
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return all(
        isinstance(one, dict) and one.get("type") == "text" and isinstance(one.get("text"), str) for one in parts
    )


def _limit(body: Mapping[str, Any], prompt: int, context: int | None) -> int:
    """Tokens that an answer may have; an HTTPException where the conversation leaves no room for as many."""
    from starlette.exceptions import HTTPException

    asked = next((body[name] for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None), None)
    if asked is not None and (not isinstance(asked, int) or asked < 1):
        raise HTTPException(400, f"max_tokens is {asked!r}: it has to be a whole number of at least 1")
    left = _MOST_TOKENS if context is None else context - prompt
    if left < (asked or 1):
        raise HTTPException(
            400,
            f"The model reads {context} tokens. The conversation has {prompt}, and the answer may have {asked or 1}",
        )
    return asked or min(left, _MOST_TOKENS)


def _error(status: int, message: str) -> Any:
    """An error as OpenAI's clients read it."""
    from starlette.responses import JSONResponse

    code = "model_not_found" if status == 404 else None
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status)
