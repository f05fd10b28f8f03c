"""Where something comes from and how to make it again, as every card tells it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairloop.cards import Run
from pairloop.report.reproducible import named

TEMPLATE = Path(__file__).with_name("origin.md.jinja")


def told(run: Run) -> str:
    """The last part of a card, in Markdown."""
    import yaml
    from jinja2 import Template

    settings = yaml.safe_dump(dict(run.parameters), sort_keys=False, allow_unicode=True)
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    text: str = template.render(run=run, settings=settings, said=lambda count: "" if count is None else count)
    return text.rstrip()


def shown(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as others may see them: of a path that leads out of the project only the last part."""
    return {key: _shown(value) for key, value in parameters.items()}


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return shown(value)
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return named(value) if isinstance(value, str) and value.startswith(("/", "~", "..")) else value


def licence(prompts: Path) -> str | None:
    """The licence of a file with prompts: what the header of the README.md beside it states, as on the hub."""
    from huggingface_hub import metadata_load

    page = (prompts if prompts.is_dir() else prompts.parent) / "README.md"
    header = (metadata_load(page) if page.is_file() else None) or {}
    stated = header.get("license")
    return str(stated) if stated else None
