"""Templates: what ships, what is written where, and under which name."""

from __future__ import annotations

import pytest

from edgesim.config.build_steps import load_build_steps
from edgesim.config.templates import PLACEHOLDER, app_name, find_template, templates, write_project
from edgesim.errors import UsageError

LANGUAGES = ["assemblyscript", "c", "go", "js", "python", "rust", "zig"]


def test_every_language_is_there():
    """Each with a sentence."""
    found = templates()

    assert [template.name for template in found] == LANGUAGES
    assert all(template.description.startswith("A worker in ") for template in found)


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_project_is_complete_and_has_its_own_name(name, tmp_path):
    """Manifest with a build step, README with the three commands, .gitignore; nothing is left of the template's name."""
    folder = tmp_path / "new" / "shop"
    written = write_project(find_template(name), folder, "shop")
    texts = {str(file): (folder / file).read_text() for file in written}
    (step,) = load_build_steps(folder)

    assert {"spin.toml", "README.md", ".gitignore"} < set(texts)
    assert not [file for file, text in texts.items() if PLACEHOLDER in text]
    assert 'name = "shop"' in texts["spin.toml"]
    for line in ("edgesim build\n", "edgesim deploy\n", "edgesim curl shop"):
        assert line in texts["README.md"]
    assert step.folder == folder
    assert sorted(map(str, written)) == sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_what_was_built_in_a_template_is_not_copied(tmp_path):
    """Somebody may have run `edgesim build` in the checkout."""
    template = find_template("c")
    mine = tmp_path / "mine"
    write_project(template, mine, "x")
    (mine / "worker.wasm").write_bytes(b"\0asm")
    (mine / "node_modules").mkdir()
    (mine / "node_modules" / "a.js").write_text("")

    assert type(template)(name="c", description="", folder=mine).files() == template.files()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    """Whatever is in it."""
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(UsageError, match="is not empty"):
        write_project(find_template("go"), tmp_path, "x")
    with pytest.raises(UsageError, match="is not a folder"):
        write_project(find_template("go"), tmp_path / "notes.txt", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("wrong", "hint"), [("javascript", "'js'"), ("Python", "'python'"), ("asemblyscript", "'assemblyscript'"), ("cobol", "templates: ")]
)  # fmt: skip
def test_a_mistyped_template(wrong, hint):
    """Other names of a language lead to it, too."""
    with pytest.raises(UsageError, match="there is no template") as caught:
        find_template(wrong)

    assert hint in caught.value.help


def test_the_name_is_the_folders_unless_one_is_given(tmp_path):
    """As far as it can be part of a host name."""
    assert app_name(tmp_path / "My_Shop v2", None) == "my-shop-v2"
    assert app_name(tmp_path / "ÄÖ", "shop") == "shop"
    with pytest.raises(UsageError) as unsaid:
        app_name(tmp_path / "ÄÖ", None)
    with pytest.raises(UsageError, match="'Shop!'"):
        app_name(tmp_path, "Shop!")
    assert "--name" in unsaid.value.help
