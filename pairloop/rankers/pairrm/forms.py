"""How checkpoints of PairRM's architecture were trained to read a prompt: what their files do not say."""

from dataclasses import dataclass

from pairloop.params.rankers import Form


@dataclass(frozen=True)
class Reading:
    """What a prompt becomes before it is compared upon."""

    before: str
    """Stands before the prompt."""

    after: str
    """Stands after it."""

    source_tokens: int
    """Most tokens of the prompt, [CLS], prefix and [SEP] included, unless config.json states it."""

    candidate_tokens: int
    """Most tokens of a response beside such a prompt; shorter prompts leave more. Unless config.json states it."""

    keeps_end: bool
    """Whether of a longer prompt the end is kept, not the beginning."""

    def text(self, prompt: str) -> str:
        """What is read of a prompt."""
        return f"{self.before}{prompt.strip()}{self.after}" if self.before else prompt


READINGS: dict[Form, Reading] = {
    # Limits of both published checkpoints; PairRM-hf does not write them down.
    "pairrm": Reading("", "", 1224, 412, False),
    # mightbe/Better-PairRM: limits and the side that is cut from its model card, the turns as RewardBench writes them
    # (allenai/reward-bench, rewardbench/models/betterpairrm.py), from which its published figures are.
    "better_pairrm": Reading("USER: ", "\n    \n    ASSISTANT: ", 2030, 670, True),
}
"""By the name that `rankers.pairrm_form` has."""
