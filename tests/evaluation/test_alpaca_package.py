"""Our numbers beside those that the package alpaca_eval computes of the same annotations."""

from collections.abc import Iterator
from typing import Any

import pytest

from pairloop.evaluation import alpaca

pytestmark = pytest.mark.clients

REVISION = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"
ROWS = 400


@pytest.fixture(scope="module")
def gamed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Invented difficulties and gamed rows, where the package looks for AlpacaEval's."""
    import numpy as np
    import pandas as pd
    import sklearn

    rng = np.random.default_rng(0)
    difficulty = rng.normal(0, 1, ROWS)
    tables = []
    for name, shift in (("concise", 1.2), ("verbose", -1.2)):
        delta = rng.normal(shift, 1, ROWS)
        chances = 1 / (1 + np.exp(0.6 * np.tanh(delta) - 0.2 * difficulty + rng.normal(0, 0.5, ROWS)))
        columns = {"preference": chances, "std_delta_len": delta, "instruction_difficulty": difficulty}
        tables.append(pd.DataFrame({"index": range(ROWS), "model": name} | columns | {"not_gamed_baseline": False}))
    hub = tmp_path_factory.mktemp("hub")
    folder = hub / "datasets--tatsu-lab--alpaca_eval"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(REVISION)
    (folder / "snapshots" / REVISION).mkdir(parents=True)
    path = folder / "snapshots" / REVISION / "df_gamed.csv"
    pd.concat(tables).to_csv(path, index=False)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        patched.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
        patched.setattr("alpaca_eval.constants.DEFAULT_CACHE_DIR", str(hub))
        yield pd.read_csv(path)
    # The package turns this on for everything that comes after it.
    sklearn.set_config(enable_metadata_routing=False)


def generated(seed: int, table: Any) -> Any:
    """Annotations of a model, of which every few sets have draws, losses of verdicts, or nearly no wins."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(100 + seed)
    lengths = rng.integers(50, 3000, ROWS), rng.integers(50, 3000, ROWS)
    delta = lengths[0] - lengths[1]
    difficulty = table["instruction_difficulty"].to_numpy()[:ROWS]
    logit = -0.9 * np.tanh(delta / delta.std(ddof=1)) + 0.5 * difficulty + rng.normal(-0.3 * (seed % 5), 1, ROWS)
    preference = 1 + 1 / (1 + np.exp(-2 * logit))
    if seed % 3 == 1:
        preference = np.round(preference)
        preference[rng.random(ROWS) < 0.1] = 1.5
    if seed % 4 == 2:
        preference[rng.random(ROWS) < 0.05] = np.nan
    texts = [["x" * int(size) for size in column] for column in lengths]
    columns = {"output_1": texts[0], "output_2": texts[1], "preference": preference}
    return pd.DataFrame(columns | {"generator_1": "reference", "generator_2": "mine", "annotator": "any"})


@pytest.mark.parametrize("seed", range(14))
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_rates_are_those_of_the_package(seed: int, gamed: Any) -> None:
    from alpaca_eval.metrics import glm_winrate, winrate

    found = generated(seed, gamed)
    preferences = found["preference"].tolist()
    theirs, ours = winrate.get_winrate(found), alpaca.win_rate(preferences)
    for name in ("win_rate", "standard_error", "discrete_win_rate"):
        assert getattr(ours, name) == pytest.approx(theirs[name], abs=1e-9)
    assert (ours.wins, ours.losses, ours.draws) == (theirs["n_wins"], theirs["n_wins_base"], theirs["n_draws"])

    difficulties = gamed["instruction_difficulty"].tolist()[:ROWS]
    lengths = [[len(text) for text in found[name]] for name in ("output_2", "output_1")]
    rows = alpaca.Gamed(*(gamed[name].tolist() for name in ("preference", "std_delta_len", "instruction_difficulty")))
    loose = {**glm_winrate.GLM_INFO["length_controlled_v1"], "kwargs": {"n_splits": 0, "C": 1e5, "tol": 1e-8}}
    minimal = {**loose, "formula": glm_winrate.GLM_INFO["length_controlled_minimal"]["formula"]}
    minimal["regularize_to_baseline_lambda"] = None
    package = glm_winrate.get_length_controlled_winrate(found, save_weights_dir=None, glm_info=minimal)
    ours_minimal = alpaca.length_controlled_minimal(preferences, *lengths)
    assert ours_minimal == pytest.approx(package["length_controlled_winrate"], abs=0.05)
    forms: list[tuple[alpaca.Form, Any, float]] = [("cross_validated", None, 1e-6), ("exact", loose, 0.05)]
    for form, info, tolerance in forms:
        package = glm_winrate.get_length_controlled_winrate(found, save_weights_dir=None, glm_info=info)
        rate, error = alpaca.length_controlled(preferences, *lengths, difficulties, rows, form)
        assert rate == pytest.approx(package["length_controlled_winrate"], abs=tolerance)
        assert error == pytest.approx(package["lc_standard_error"], abs=tolerance)
