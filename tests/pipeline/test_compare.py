"""Two runs of one project, by the names that git and DVC have for them."""

from conftest import Project


def test_an_experiment_is_compared_with_a_revision_and_the_workspace(project: Project) -> None:
    project.run("dvc", "exp", "run", "--name", "fewer", "-S", "eval.bootstrap=150")
    said = project.run("python", "-m", "stages.compare", "main", "fewer").stdout
    assert "eval.bootstrap" in said and "150" in said and "Iteration 3" in said
    page = (project.folder / "build/compare/main-fewer.html").read_text()
    assert "1 parameter differs" in page and "Iteration 3" in page
    assert "workspace" in project.run("python", "-m", "stages.compare", "main").stdout
    unknown = project.run("python", "-m", "stages.compare", "main", "fewr", check=False)
    assert unknown.returncode == 1 and unknown.stderr.startswith(
        "Error: compare: there is no revision or experiment fewr"
    )
    assert "Traceback" not in unknown.stderr


def test_a_revision_without_a_run_is_said(reproduced: Project) -> None:
    found = reproduced.run("python", "-m", "stages.compare", "main~1", "main", check=False)
    assert found.returncode == 1 and "main~1 has no results/iteration_0/judgements.json" in found.stderr
