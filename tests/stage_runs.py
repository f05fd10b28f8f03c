"""Stages of a project, as DVC resolves them from its dvc.yaml and params.yaml, run in this process."""

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from click.testing import CliRunner


@dataclass(frozen=True)
class Stage:
    """One stage."""

    name: str
    command: str
    needs: list[str]
    makes: list[str]

    def run(self) -> None:
        """Run it in the project that is the current folder: all it needs must be there, and all it promises after."""
        python, option, module, *words = shlex.split(self.command)
        assert (python, option) == ("python", "-m")
        missing = [path for path in self.needs if not Path(path).exists()]
        assert not missing, f"{self.name} needs {missing}"
        for path in map(Path, self.makes):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
        found = CliRunner().invoke(import_module(module).main, words)
        assert found.exit_code == 0, f"{self.name}: {found.output}\n{found.exception!r}"
        assert all(Path(path).exists() for path in self.makes), self.name


def stages(folder: Path) -> Mapping[str, Stage]:
    """The stages of a project by name, in an order in which they can run."""
    import networkx
    from dvc.repo import Repo

    with Repo(str(folder)) as repo:
        order = list(networkx.dfs_postorder_nodes(repo.index.graph))
        return {s.name: Stage(s.name, s.cmd, [*map(str, s.deps)], [*map(str, s.outs)]) for s in order}
