"""Held-out patients stay held out whatever happens to the images of a set."""

import dataclasses
import random

import pytest

from scn_keras.datasets.deals.deal_registry import DealRegistry
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.training.input.dealt_patients import held_out_patients
from scn_keras.training.recipe import Recipe

NAMES = tuple(f"{n:02d}" for n in range(1, 13))
SHARE = Recipe("any", "any", validation=0.25, seed=3)
FOLD = Recipe("any", "any", fold=(0, 4), seed=3)


def table(films):
    """The images of a dict from names to lists of films, which are their digests."""
    rows = [
        (f"{name}-{n}", name, f) for name in films for n, f in enumerate(films[name])
    ]
    return ImageTable(*zip(*rows, strict=True))


def parts_of(films, recipe, registry):
    """The part of each film, by all folds of a recipe or by its share."""
    images = table(films)
    parts = range(4) if recipe.fold else [1]
    held_out = {
        part: held_out_patients(
            images,
            dataclasses.replace(recipe, fold=(part, 4)) if recipe.fold else recipe,
            registry,
        )
        for part in parts
    }
    return {
        film: next((p for p in parts if name in held_out[p]), 0)
        for name in films
        for film in films[name]
    }


@pytest.fixture
def registry(tmp_path):
    return DealRegistry([tmp_path])


@pytest.mark.parametrize("recorded", [False, True])
def test_patients_are_those_of_earlier_versions(registry, recorded):
    films = {name: [f"film {name}"] for name in NAMES}
    registry = registry if recorded else None
    held_out = held_out_patients(table(films), SHARE, registry)
    assert held_out == {"04", "09", "10"}
    folds = [
        sorted(held_out_patients(table(films), recipe, registry))
        for recipe in (dataclasses.replace(FOLD, fold=(k, 4)) for k in range(4))
    ]
    assert folds == [
        ["01", "04", "06"],
        ["05", "10", "11"],
        ["08", "09", "12"],
        ["02", "03", "07"],
    ]


@pytest.mark.parametrize("recipe", [SHARE, FOLD])
def test_patients_stay_when_images_are_renumbered(registry, recipe):
    films = {name: [f"film {name}"] for name in NAMES}
    before = parts_of(films, recipe, registry)
    # 03 is removed, and all that follow are renamed to close the gap.
    kept = [film for name, (film,) in films.items() if name != "03"]
    films = {name: [film] for name, film in zip(NAMES[:-1], kept, strict=True)}
    after = parts_of(films, recipe, registry)
    assert after == {film: before[film] for film in kept}
    # A new film is called 12 as one was; the removed one returns under another name.
    films |= {"12": ["new"], "x": ["film 03"]}
    again = parts_of(films, recipe, registry)
    assert again == {**after, "film 03": before["film 03"], "new": again["new"]}


def test_a_name_that_passed_to_another_patient_does_not_count(registry):
    films = {name: [f"film {name}"] for name in NAMES}
    parts_of(films, FOLD, registry)  # 12 is in part 2, and 03 in part 3
    kept = [film for name, (film,) in films.items() if name != "03"]
    films = {name: [film] for name, film in zip(NAMES[:-1], kept, strict=True)}
    # Film 12 is called 11 now, and a new film 12. One is missing in part 3.
    assert parts_of({**films, "12": ["new"]}, FOLD, registry)["new"] == 3


@pytest.mark.parametrize("recipe", [SHARE, FOLD])
def test_new_films_join_their_patient(registry, recipe):
    films = {name: [f"film {name}"] for name in NAMES}
    before = parts_of(films, recipe, registry)
    for name in films:
        films[name] = [*films[name], f"second {name}"]
    after = parts_of(films, recipe, registry)
    assert all(after[f"second {name}"] == before[f"film {name}"] for name in films)
    # By its name alone, when none of its images is known any more.
    films = {name: [f"third {name}"] for name in films}
    after = parts_of(films, recipe, registry)
    assert all(after[f"third {name}"] == before[f"film {name}"] for name in films)


def test_a_patient_is_found_by_its_name_when_its_images_are_replaced(registry):
    films = {name: [f"film {name}"] for name in NAMES}
    shares, folds = (parts_of(films, recipe, registry) for recipe in (SHARE, FOLD))
    assert shares["film 09"] == 1 and shares["film 01"] == 0
    assert folds["film 09"] == 2 and folds["film 01"] == 0
    # As a new patient, 01 would take the place of 09.
    del films["09"]
    films["01"] = ["exported again"]
    assert parts_of(films, SHARE, registry)["exported again"] == 0
    assert parts_of(films, FOLD, registry)["exported again"] == 0


def test_new_patients_keep_the_share_and_the_sizes(registry):
    films = {name: [f"film {name}"] for name in NAMES}
    before = parts_of(films, SHARE, registry)
    folds = parts_of(films, FOLD, registry)
    films |= {f"new {n}": [f"new film {n}"] for n in range(9)}
    after = parts_of(films, SHARE, registry)
    assert sum(after.values()) == round(0.25 * 21) == 5
    assert before.items() <= after.items()
    after = parts_of(films, FOLD, registry)
    sizes = [[*after.values()].count(part) for part in range(4)]
    assert sorted(sizes) == [5, 5, 5, 6]
    assert folds.items() <= after.items()


def test_merged_patients_are_in_the_part_of_most_images(registry):
    films = {name: [f"film {name}"] for name in NAMES}
    films["09"] += ["second 09"]
    parts_of(films, SHARE, registry)  # 04, 09 and 10 are held out
    films["01"] += films.pop("09")
    with pytest.warns(UserWarning, match=r"images of '01' were dealt into several"):
        parts = parts_of(films, SHARE, registry)
    assert [parts[film] for film in ("film 01", "film 09", "second 09")] == [1, 1, 1]
    # As many in either: the lower part, which is the training.
    films["02"] += films.pop("10")
    with pytest.warns(UserWarning, match=r"images of '02'"):
        parts = parts_of(films, SHARE, registry)
    assert parts["film 02"] == parts["film 10"] == 0


def test_other_settings_are_dealt_on_their_own(registry):
    films = table({name: [f"film {name}"] for name in NAMES})
    first = held_out_patients(films, SHARE, registry)
    recipes = [
        dataclasses.replace(SHARE, seed=4),
        dataclasses.replace(SHARE, validation=0.5),
        dataclasses.replace(SHARE, train_split="train[:50%]"),
    ]
    for recipe in recipes:
        new = held_out_patients(films, recipe, registry)
        assert new == held_out_patients(films, recipe, None)
    assert held_out_patients(films, SHARE, registry) == first
    assert len(registry.deals()) == 4
    same = dataclasses.replace(SHARE, train_split="fold2+fold1")
    held_out_patients(films, same, registry)
    held_out_patients(
        films, dataclasses.replace(same, train_split="fold1 + fold2"), registry
    )
    assert len(registry.deals()) == 5


def test_removal_of_all_held_out_patients_is_an_error(registry):
    films = {name: [f"film {name}"] for name in NAMES}
    held_out_patients(table(films), SHARE, registry)
    films = {name: films[name] for name in NAMES if name not in ("04", "09", "10")}
    with pytest.raises(ValueError, match=r"All held-out patients .* Choose another"):
        held_out_patients(table(films), SHARE, registry)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("recipe", [SHARE, FOLD])
def test_no_film_moves_in_random_edits(registry, recipe, seed):
    draw = random.Random(seed)
    numbers = iter(range(1000))
    films = {f"{n:02d}": [f"film {next(numbers)}"] for n in range(12)}
    first = parts_of(films, recipe, registry)
    removed = []
    for _ in range(15):
        edit = draw.choice(["patient", "film", "remove", "return", "number", "rename"])
        names = sorted(films)
        if edit == "patient":
            films[f"new {len(first)}"] = [f"film {next(numbers)}"]
        elif edit == "film":
            films[draw.choice(names)].append(f"film {next(numbers)}")
        elif edit == "remove" and len(names) > 9:
            removed.append(films.pop(draw.choice(names)))
        elif edit == "return" and removed:
            films[f"again {len(first)}"] = removed.pop()
        elif edit == "number":
            films = {f"{n:02d}": films[name] for n, name in enumerate(names)}
        elif edit == "rename":
            others = draw.sample(names, len(names))
            films = {o: films[name] for o, name in zip(others, names, strict=True)}
        try:
            parts = parts_of(films, recipe, registry)
        except ValueError as error:
            assert "were removed" in str(error)  # by chance, all of one part
            return
        assert {f: first.get(f, part) for f, part in parts.items()} == parts, edit
        assert all(len({parts[f] for f in films[name]}) == 1 for name in films)
        first |= parts
