"""Splits of a folder stay when its images are added, removed, renamed or corrected."""

import json
import random
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from scn_keras.datasets import DatasetFolderError, builder_class, prepare
from scn_keras.datasets.check import check_folder
from scn_keras.datasets.deals import deal_registry, slices
from scn_keras.datasets.deals.registry_file import FILE, read_deals, write_deals
from scn_keras.datasets.identity.image_identity import pixel_digest
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.training.input.prepared_sets import prepared_builder, sample_ids
from scn_keras.training.input.split_images import training_images
from scn_keras.training.recipe import Recipe

FOLDS = "[splits]\nfolds = 5\n"
# Dealt by the version before: five folds of the films 01 to 12, seed 0.
EARLIER = {
    **{"10": "fold1", "03": "fold2", "08": "fold3", "05": "fold4", "06": "fold5"},
    **{"12": "fold1", "01": "fold2", "04": "fold3", "07": "fold4", "11": "fold5"},
    **{"09": "fold1", "02": "fold2"},
}
# The order in which TFDS stores them.
ORDER = ["12", "04", "01", "06", "10", "03", "08", "05", "07", "11", "09", "02"]


def pixels(number):
    return np.random.default_rng(number).integers(0, 255, (12, 10)).astype("uint8")


class Films:
    """A folder of films, and the set that is prepared of it."""

    def __init__(self, path, settings=""):
        self.folder, self.data = path / "films", path / "data"
        self.folder.mkdir()
        (self.folder / "landmarks.toml").write_text(settings)
        self.write({f"{n:02d}": n for n in range(1, 13)})
        self.lines = []

    def write(self, films, shift=0):
        """Writes films by name; the number of a film is that of its pixels."""
        self.films = films
        for path in self.folder.glob("*.png"):
            path.unlink()
        for name, number in films.items():
            Image.fromarray(pixels(number)).save(self.folder / f"{name}.png")
        rows = [f"{name}.png,{3 + shift},4,5,6\n" for name in films]
        text = "image,a_x,a_y,b_x,b_y\n" + "".join(rows)
        (self.folder / "points.csv").write_text(text)

    def prepare(self):
        self.lines = []
        prepare(
            "landmark_folder",
            self.data,
            self.folder,
            config="films",
            overwrite=True,
            report=self.lines.append,
        )
        return self

    @property
    def set(self):
        return self.data / "landmark_folder" / "films" / "1.0.0"

    def numbers(self, split):
        """The films of a split by their pixels, read in both ways."""
        ids = sample_ids("landmark_folder/films", split, self.data)
        builder = prepared_builder("landmark_folder/films", self.data)
        assert [s["id"].decode() for s in builder.as_data_source(split)] == ids
        assert len(builder.as_dataset(split=split)) == len(ids)
        digests = {pixel_digest(s["image"]) for s in builder.as_data_source(split)}
        numbers = {self.films[id] for id in ids}
        assert digests == {pixel_digest(pixels(number)) for number in numbers}
        return numbers

    def folds(self):
        """The fold of each film by its pixels."""
        return {n: f for f in self.splits() for n in self.numbers(f)}

    def splits(self):
        return prepared_builder("landmark_folder/films", self.data).info.splits


def test_folds_are_first_dealt_as_before_and_written_down(tmp_path):
    films = Films(tmp_path, FOLDS).prepare()
    expected = {int(name): fold for name, fold in EARLIER.items()}
    assert films.folds() == expected
    line = films.lines[-2]
    assert "Patients were dealt into folds: 3 in fold1, 3 in fold2, 2 in fold3" in line
    assert f"{films.folder / FILE}: keep this file" in line
    assert films.lines[-1].endswith(f"prepared in {films.set}")
    text = (films.folder / FILE).read_text("utf-8")
    assert "Keep this file with the images" in json.loads(text)["about"]
    deals = read_deals(films.folder / FILE)
    assert read_deals(films.set / FILE) == deals
    recorded = {name: p.part for p in deals[0].patients for name in p.images.values()}
    assert recorded == {name: int(fold[-1]) for name, fold in EARLIER.items()}
    films.prepare()
    assert films.lines[-2] == (
        f"All patients stay in the folds of {films.folder / FILE}."
    )


def test_sizes_differ_by_one_patient_when_first_dealt(tmp_path):
    films = Films(tmp_path, f"[patient]\npattern = '^p.'\n{FOLDS}")
    # Of many films, of which fewest images would leave one patient alone in a fold.
    names = [f"pa{n}" for n in range(9)] + [f"p{c}0" for c in "bcdefghij"]
    films.write({name: n for n, name in enumerate(names)})
    films.prepare()
    sizes = [
        len({n for n in films.numbers(f"fold{k}") if n == 0 or n >= 9})
        for k in range(1, 6)
    ]
    assert sizes == [2, 2, 2, 2, 2]


def test_folds_stay_with_the_pixels(tmp_path):
    films = Films(tmp_path, FOLDS).prepare()
    before = films.folds()
    # Film 3 is removed and all that follow are renumbered; points are corrected.
    kept = [n for n in range(1, 13) if n != 3]
    renumbered = {f"{n:02d}": number for n, number in enumerate(kept, 1)}
    films.write({**renumbered, "extra": 20, "more": 21}, shift=1)
    films.prepare()
    after = films.folds()
    assert {n: before[n] for n in kept}.items() <= after.items()
    sizes = [[*after.values()].count(f"fold{k}") for k in range(1, 6)]
    # 3, 2, 2, 2 and 2 films were left; new ones are dealt to the smallest folds.
    assert sizes == [3, 3, 3, 2, 2]
    new = {after[20], after[21]}
    assert films.lines[-2] == (
        f"New patients: 1 in {min(new)}, 1 in {max(new)}. All others stay in the folds "
        f"of {films.folder / FILE}."
    )
    # What was removed returns under a name of its own.
    films.write({"old": 3, **films.films})
    films.prepare()
    assert films.folds() == {**after, 3: before[3]}
    # An evaluation of the folder has the same folds, and writes nothing.
    text = (films.folder / FILE).read_bytes()
    builder = builder_class("landmark_folder")(folder=films.folder, data_dir=tmp_path)
    cases = builder.cases(films.folder)
    assert {films.films[c.id]: c.split for c in cases} == films.folds()
    findings = check_folder(films.folder).findings
    assert not any(FILE in finding.message for finding in findings)
    assert (films.folder / FILE).read_bytes() == text


def test_folds_of_another_seed_are_dealt_on_their_own(tmp_path):
    films = Films(tmp_path, FOLDS).prepare()
    films.write({**films.films, "new": 20})
    before = films.prepare().folds()
    (films.folder / "landmarks.toml").write_text(f"{FOLDS}seed = 1\n")
    assert films.prepare().folds() != before
    (films.folder / "landmarks.toml").write_text(FOLDS)
    assert films.prepare().folds() == before


def test_patients_of_several_films_join_and_merge(tmp_path):
    films = Films(tmp_path, f"[patient]\npattern = '^p.'\n{FOLDS}")
    films.write(
        {
            f"p{c}{n}": 10 * i + n
            for i, c in enumerate("abcdefg")
            for n in "01"
            for n in [int(n)]
        }
    )
    before = films.prepare().folds()
    films.write({**films.films, "pc2": 22, "px0": 90})
    after = films.prepare().folds()
    assert before.items() <= after.items()
    assert after[22] == before[20]
    # Patient d turns out to be patient c, of whom there are more films.
    moved = {"pc3": 30, "pc4": 31}
    rest = {k: n for k, n in films.films.items() if not k.startswith("pd")}
    films.write({**rest, **moved})
    merged = films.prepare().folds()
    assert any("images of 'pc' were dealt into several" in line for line in films.lines)
    assert merged[30] == merged[31] == after[20] != after[30]
    others = {n: f for n, f in after.items() if n not in (30, 31)}
    assert others.items() <= merged.items()


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    films = Films(tmp_path, FOLDS)

    def write(path, *args, **kwargs):
        if Path(path).parent == films.folder:
            raise PermissionError(13, "Permission denied", str(path))
        write_deals(path, *args, **kwargs)

    monkeypatch.setattr(deal_registry, "write_deals", write)
    before = films.prepare().folds()
    assert not (films.folder / FILE).exists()
    assert f"by {films.set / FILE}: keep this file" in films.lines[-2]
    films.write({**films.films, "00": 30})
    after = films.prepare().folds()
    assert before.items() <= after.items()
    assert "New patients: 1 in fold" in films.lines[-2]
    # The set is that of the folder, though the folder does not have its folds.
    prepare("landmark_folder", films.data, films.folder, "films", report=str)
    monkeypatch.undo()
    # It is written as soon as that is possible.
    assert films.prepare().folds() == after
    assert read_deals(films.folder / FILE) == read_deals(films.set / FILE)


def test_sets_without_a_registry_keep_their_folds(tmp_path):
    lists = {"fold1": ["02", "03", "04"], "fold2": ["01", "05"]}
    lists["fold3"] = [f"{n:02d}" for n in range(6, 13)]
    entries = "".join(f"{fold} = {json.dumps(ids)}\n" for fold, ids in lists.items())
    films = Films(tmp_path, f"[splits]\n{entries}").prepare()
    before = films.folds()
    assert not (films.folder / FILE).exists()  # a person's lists are not dealt
    (films.set / FILE).unlink()
    metadata = json.loads((films.set / "metadata.json").read_text())
    del metadata["source_folder"]
    (films.set / "metadata.json").write_text(json.dumps(metadata))
    # A training on it records what it holds out, but not the folds.
    split = {"train_split": "fold1+fold2+fold3"}
    recipe = Recipe("any", "landmark_folder/films", validation=0.3, **split)
    held_out = {*training_images(recipe, films.data)[1].digests}
    assert [deal.kind for deal in read_deals(films.set / FILE)] == ["validation"]
    (films.folder / "landmarks.toml").write_text("[splits]\nfolds = 3\n")
    films.write({f"film{name}": n for name, n in films.films.items()} | {"new": 40})
    after = films.prepare().folds()
    assert before.items() <= after.items()
    assert after[40] == "fold2"
    assert films.lines[-2].startswith("New patients: 1 in fold2. All others stay")
    assert {*training_images(recipe, films.data)[1].digests} == held_out


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"format": 1}', "KeyError: 'deals'"),
        ('{"format": 1, "deals": [{"kind": "x"}]}', "KeyError: 'x'"),
        (
            '{"format": 1, "deals": [{"kind": "folds", "number": 5, "seed": 0, '
            '"patients": [{"patient": "a", "part": "1", "images": {}}]}]}',
            "'1' must be an integer",
        ),
    ],
)
def test_a_damaged_registry_gets_a_sentence(tmp_path, text, reason):
    films = Films(tmp_path, FOLDS)
    (films.folder / FILE).write_text(text)
    with pytest.raises(ValueError, match=f"dealt_splits.json must be as .*{reason}"):
        films.prepare()
    assert not films.data.exists()
    builder = builder_class("landmark_folder")(folder=films.folder, data_dir=tmp_path)
    with pytest.raises(DatasetFolderError, match=r"Restore it from a copy, or remove"):
        builder.cases(films.folder)


def test_a_registry_of_a_later_version(tmp_path):
    films = Films(tmp_path, FOLDS)
    (films.folder / FILE).write_text('{"format": 2, "deals": []}')
    with pytest.raises(ValueError, match=r"later version of scn-keras.*format=2"):
        films.prepare()


SLICES = ["train[:5]", "train[5:]", "train[:50%]", "train[50%:]", "train[-4:]"]


def test_slices_stay_with_the_pixels(tmp_path):
    films = Films(tmp_path).prepare()
    first = [int(name) for name in ORDER]
    expected = [first[:5], first[5:], first[:6], first[6:], first[-4:]]
    before = [films.numbers(split) for split in SLICES]
    assert before == [*map(set, expected)]
    ids = sample_ids("landmark_folder/films", "train[:5]", films.data)
    assert ids == ORDER[:5]
    # 12 is removed, the others are renamed, and there are new ones.
    renamed = {f"x{13 - n}": n for n in range(1, 12)}
    films.write({**renamed, "00": 50, "y": 51}, shift=1)
    films.prepare()
    after = [films.numbers(split) for split in SLICES]
    new = {50, 51}
    assert after == [
        before[0] - {12},
        before[1] | new,
        before[2] - {12},
        before[3] | new,
        before[4] | new,
    ]
    assert films.numbers("train[:5]+train[-4:]") == after[0] | after[4]
    builder = prepared_builder("landmark_folder/films", films.data)
    source = builder.as_data_source(tfds.core.ReadInstruction("train", to=5))
    assert {films.films[s["id"].decode()] for s in source} == after[0]
    assert films.numbers("train") == set(range(1, 12)) | new
    assert read_deals(films.folder / FILE) == read_deals(films.set / FILE)


def test_slices_keep_patients_together(tmp_path):
    films = Films(tmp_path, "[patient]\npattern = '^p.'\n")
    films.write(
        {f"p{c}{n}": 10 * i + n for i, c in enumerate("abcdef") for n in (0, 1)}
    )
    films.prepare()
    parts = films.numbers("train[:5]"), films.numbers("train[5:]")
    assert parts[0] | parts[1] == {*films.films.values()}
    assert not parts[0] & parts[1]
    patients = [{n // 10 for n in part} for part in parts]
    assert not patients[0] & patients[1]
    assert [*map(len, parts)] == [6, 6]
    last = max(patients[0])
    films.write({**films.films, f"p{'abcdef'[last]}2": 10 * last + 2, "pz0": 99})
    films.prepare()
    assert films.numbers("train[:5]") == parts[0] | {10 * last + 2}
    assert films.numbers("train[5:]") == parts[1] | {99}


def test_slices_of_sets_without_a_registry_are_those_of_tfds(tmp_path):
    films = Films(tmp_path, "[patient]\npattern = '^p.'\n")
    names = [f"p{c}{n}" for c in "abcdef" for n in (0, 1)]
    films.write({name: n for n, name in enumerate(names)})
    films.prepare()
    (films.set / FILE).unlink()
    ids = sample_ids("landmark_folder/films", "train", films.data)
    order = [films.films[id] for id in ids]
    # Prepared again with another film, before any slice was used.
    films.write({"q" + name[1:]: n for name, n in films.films.items()} | {"pa9": 77})
    (films.folder / "landmarks.toml").write_text("[patient]\npattern = '^..'\n")
    films.prepare()
    assert films.numbers("train[:5]") == set(order[:5])
    assert films.numbers("train[5:]") == {*order[5:], 77}
    with pytest.warns(UserWarning, match="counted on the 12 images of the set before"):
        assert films.numbers("train[:25%]") == set(order[:3])


def test_wrong_slices_are_refused_and_not_recorded(tmp_path):
    films = Films(tmp_path).prepare()
    builder = prepared_builder("landmark_folder/films", films.data)
    with pytest.raises(ValueError, match=r"'train' has 12 images.*boundary 13"):
        builder.read_split("train[:13]")
    with pytest.raises(ValueError, match=r"'train' has 12 images.*boundary -13"):
        builder.as_data_source("train[-13:]")
    assert not (films.folder / FILE).exists()


@pytest.mark.parametrize("by_patient", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_no_image_changes_its_slice_in_random_edits(
    tmp_path, monkeypatch, by_patient, seed
):
    draw = random.Random(seed)
    films = {
        f"{n:02d}": [f"film {n}"] * (n % 5 != 0) or [f"a{n}", f"b{n}"]
        for n in range(12)
    }
    builder = types.SimpleNamespace(
        PUBLISHED_SPLITS=False,
        info=types.SimpleNamespace(splits={"train"}),
        data_dir=tmp_path,
    )
    images = {}

    def selected(split):
        base, ids = slices.dealt_slices(builder, split)
        if ids is None:  # by TFDS; its own reading of slices is tested above
            (part,) = slices._parsed(base)
            count = len(images["table"])
            start = slices._index(part.start or "0", count)
            stop = slices._index(part.stop or str(count), count)
            ids = images["table"].ids[start:stop]
        assert base in (split, "train")
        digests = dict(zip(images["table"].ids, images["table"].digests, strict=True))
        return {digests[id] for id in ids}

    monkeypatch.setattr(slices, "images_of", lambda *_: images["table"])
    monkeypatch.setattr(slices, "deals_by_patient", lambda _: by_patient)
    registry = deal_registry.DealRegistry([tmp_path])
    monkeypatch.setattr(slices, "set_registry", lambda _: registry)
    first, count = {}, 12
    pairs = [
        ("train[:5]", "train[5:]"),
        ("train[:50%]", "train[50%:]"),
        ("train[:-3]", "train[-3:]"),
    ]
    for _ in range(12):
        rows = [
            (f"{name} {n}", name, film)
            for name in films
            for n, film in enumerate(films[name])
        ]
        draw.shuffle(rows)  # TFDS orders samples by a digest of their names
        images["table"] = ImageTable(*zip(*rows, strict=True))
        for pair in pairs:
            low, high = map(selected, pair)
            assert low | high == {*images["table"].digests}
            assert not low & high
            old = first.setdefault(pair, {})
            now = {**dict.fromkeys(low, 0), **dict.fromkeys(high, 1)}
            assert {f: old.get(f, side) for f, side in now.items()} == now
            new = {f: side for f, side in now.items() if f not in old}
            assert not old or all(
                side == 1 or any(now[f] == 0 for f in films[name] if f in old)
                for f, side in new.items()
                for name in films
                if f in films[name]
            )
            if by_patient:
                assert all(len({now[f] for f in of}) == 1 for of in films.values())
            old |= now
        names = sorted(films)
        count += 1
        edit = draw.choice(["new", "film", "remove", "number"])
        if edit == "new":
            films[f"new {count}"] = [f"new film {count}"]
        elif edit == "film":
            films[draw.choice(names)].append(f"second {count}")
        elif edit == "remove" and len(names) > 8:
            del films[draw.choice(names)]
        elif edit == "number":
            films = {f"{n:02d}": films[name] for n, name in enumerate(names)}


PROCESS = """
import sys
from scn_keras.datasets.deals.deal_registry import DealRegistry
from scn_keras.datasets.deals.recorded_parts import with_images
from scn_keras.datasets.identity.image_table import ImageTable

name, folder = sys.argv[1:]
for seed in range(20):
    table = ImageTable((name,), (name,), (name,))
    settings = {"split": "train", "share": 0.5, "seed": seed}
    change = lambda deal: with_images(
        deal,
        ImageTable(*[tuple(p.patient for p in deal.patients) + (name,)] * 3),
        [p.part for p in deal.patients] + [len(deal.patients)],
    )
    DealRegistry([folder]).change("validation", settings, change)
"""


def test_two_processes_at_once_lose_nothing(tmp_path):
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, name, str(tmp_path)])
        for name in ("a", "b")
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    deals = read_deals(tmp_path / FILE)
    assert len(deals) == 20
    for deal in deals:
        assert sorted(p.patient for p in deal.patients) == ["a", "b"]
        assert sorted(p.part for p in deal.patients) == [0, 1]
