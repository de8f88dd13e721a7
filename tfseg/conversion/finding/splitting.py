"""Which split an image without a folder of splits goes into: by a hash of its path, or by lists of ids.

A hash decides on every image alone, so that images that are added later move no others. The share is exact in the mean
only: of few images, or few groups, more or fewer may come out.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tfseg.conversion.finding.files import list_entries, some
from tfseg.conversion.finding.layouts import SPLIT_NAMES
from tfseg.conversion.finding.members import Member
from tfseg.conversion.reading.faults import Skipped
from tfseg.io import paths
from tfseg.io.escaping import printable, shorten
from tfseg.io.names import check_name

TRAIN, VAL, TEST = "train", "val", "test"


@dataclass(frozen=True)
class Splitting:
    """How to part images that lie in no folders of splits."""

    val_share: float | None = None  # of all, 0..1
    test_share: float | None = None
    seed: int = 0
    group_by: str | None = None  # pattern that finds in a path what stays together
    lists: Mapping[str, str | Path] = field(default_factory=dict)  # split -> file of ids or names

    @property
    def is_asked_for(self) -> bool:
        return bool(self.lists) or self.by_share

    @property
    def by_share(self) -> bool:
        return self.val_share is not None or self.test_share is not None

    def check(self) -> None:
        """Refuses what cannot be meant.

        Raises:
            ValueError: a share is not in 0..1, both leave nothing to train on, or arguments exclude each other.
        """
        shares = {"--val-share": self.val_share or 0.0, "--test-share": self.test_share or 0.0}
        for name, share in shares.items():
            if not 0 <= share < 1:
                raise ValueError(f"{name}: expected a share from 0 to less than 1, such as 0.1, got {share}")
        if sum(shares.values()) >= 1:
            raise ValueError(
                f"{' and '.join(shares)}: {' and '.join(map(str, shares.values()))} leave no image to train"
            )
        if self.lists and self.by_share:
            raise ValueError("--split and --val-share: expected lists of ids or shares, got both; leave one out")
        if self.group_by is not None and not self.by_share:
            raise ValueError("--group-by: keeps together what --val-share parts; give --val-share too")
        try:
            re.compile(self.group_by or "")
        except re.error as error:
            raise ValueError(f"--group-by {shorten(self.group_by)}: is no regular expression: {error}") from None
        for split in self.lists:
            try:
                check_name(split, "split")
            except ValueError as error:
                raise ValueError(f"--split: {error}") from None


def part_by_share(members: Sequence[Member], splitting: Splitting, place: Path) -> tuple[list[str], str]:
    """Decides the split of each image by a hash.

    Args:
        members: the images.
        splitting: shares, seed and groups.
        place: what errors begin with.

    Returns:
        The split of each image, and how many got where, in words.

    Raises:
        ValueError: a split that was asked for came out empty, or the pattern of the groups is not in a path.

    Example:
        >>> part_by_share(members, Splitting(val_share=0.1), root)
        (['train', 'train', 'val', ...], '91 train, 9 val')
    """
    groups = _group(members, splitting.group_by, place)
    val_share, test_share = splitting.val_share or 0.0, splitting.test_share or 0.0
    names = [_split_of(group, splitting.seed, val_share, test_share) for group in groups]
    counts = Counter(names)
    wanted = [TRAIN, *([VAL] if val_share else []), *([TEST] if test_share else [])]
    if empty := [split for split in wanted if not counts[split]]:
        things = f"{len({*groups})} groups" if splitting.group_by is not None else f"{len(members)} images"
        raise ValueError(
            f"{place}: no image came into the split {empty[0]}, for the hash of each decides, and there are {things}; "
            f"change the share, try another --seed than {splitting.seed}, or list the ids: --split {empty[0]}=FILE"
        )
    if wanted == [TRAIN]:
        return names, f"all {len(members)} images are train"
    text = ", ".join(f"{counts[split]} {split}" for split in wanted)
    of_groups = f" of {len({*groups})} groups" if splitting.group_by is not None else ""
    return (
        names,
        f"{text}{of_groups}, by a hash of {'the group' if of_groups else 'the path'} and seed {splitting.seed}",
    )


def _split_of(group: str, seed: int, val_share: float, test_share: float) -> str:
    """The same on every machine, whatever else there is."""
    digest = hashlib.sha256(f"{seed}/{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64  # 0..1
    if place < val_share:
        return VAL
    return TEST if place < val_share + test_share else TRAIN


def _group(members: Sequence[Member], pattern: str | None, place: Path) -> list[str]:
    """What of each path is hashed: all of it, or what the pattern finds; of a pattern with brackets what is in them."""
    if pattern is None:
        return [member.path for member in members]
    found = [re.search(pattern, member.path) for member in members]
    lacking = [member.path for member, match in zip(members, found, strict=True) if not match]
    if lacking:
        raise ValueError(
            f"{place}: --group-by {shorten(pattern)} finds nothing in {len(lacking)} of {len(members)} paths: "
            f"{printable(some(lacking))}"
        )
    return ["/".join(part or "" for part in match.groups() or (match[0],)) for match in found if match]


# ---- lists


def part_by_lists(
    members: Sequence[Member],
    lists: Mapping[str, str | Path],
    place: Path,
    must_be_there: bool = False,
    skipped: list[Skipped] | None = None,
) -> tuple[list[str | None], list[str]]:
    """Decides the split of each image by lists of ids, paths or names of files, one a line.

    Args:
        members: the images.
        lists: split -> its list.
        place: what warnings begin with.
        must_be_there: refuse a list with a line that is no image, rather than warn.
        skipped: takes such lines, in the place of refusing them; None: they are refused.

    Returns:
        The split of each image, None of those in no list; and warnings, of lines that are no image.

    Raises:
        ValueError: an image is in two lists, a line fits two images, or no line of a list is an image.
        OSError: a list cannot be read.
    """
    names = _index(members)
    splits: list[str | None] = [None] * len(members)
    warnings = []
    for split, file in lists.items():
        lines = read_list(file)
        lost = []
        for line in lines:
            found = _look_up(line, names)
            if len(found) > 1:
                both = " and ".join(members[number].whole_path for number in sorted(found)[:2])
                raise ValueError(f"{file}: {printable(line)} could be {printable(both)}; write the path in its place")
            if not found:
                lost.append(line)
                continue
            (number,) = found
            if splits[number] not in (None, split):
                raise ValueError(
                    f"{file}: {printable(line)} is in the list of {splits[number]} too; an image in two splits would "
                    "be scored by a network that was trained on it: take it out of one list"
                )
            splits[number] = split
        if len(lost) == len(lines):
            raise ValueError(f"{file}: none of its {len(lines)} lines is an image of {place}: {printable(some(lost))}")
        if lost:
            text = f"{len(lost)} of the {len(lines)} lines are no image with a mask: {printable(some(lost, 10))}"
            if must_be_there and skipped is None:
                raise ValueError(f"{file}: {text}")
            warnings.append(f"{file}: {text}")
            if must_be_there and skipped is not None:
                fault = f"{file}: names what is no image with a mask; add both, or take the line out"
                skipped += [Skipped(split, line, "", "", fault) for line in lost]
    return splits, warnings


def find_lists(folder: Path) -> dict[str, Path]:
    """Finds the lists that a data set brings along, SPLIT.txt; of trainval and its halves the halves.

    Nothing where one list, default.txt, holds all, as annotation tools write it.
    """
    if not folder.is_dir():
        return {}
    names = [name for name, _ in list_entries(folder) if name.lower().endswith(".txt")]
    lists = {name[: -len(".txt")]: folder / name for name in names}
    lists = {SPLIT_NAMES.get(name.lower(), name): path for name, path in lists.items() if name.lower() != "default"}
    if {TRAIN, VAL} & lists.keys():
        lists.pop("trainval", None)
    return lists


def read_list(file: str | Path) -> list[str]:
    """Reads a list of ids, one a line; empty lines are passed over.

    Raises:
        ValueError: it is empty, or no text in UTF-8.
        OSError: it cannot be read.
    """
    try:
        text = paths.open_path(file).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: expected a list of ids in UTF-8, one a line") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{file}: is empty; expected ids or names of files, one a line")
    return lines


class _Names(NamedTuple):
    """What images can be called by -> their numbers."""

    short: dict[str, set[int]]  # ids, names and the ends of paths
    whole: dict[str, set[int]]  # paths below the folder of all images, or below that of their split


def _index(members: Sequence[Member]) -> _Names:
    names = _Names({}, {})
    for number, member in enumerate(members):
        endings = {member.key[-1], Path(member.image.name).stem, member.image.name}
        folders = member.whole_path.split("/")[:-1]
        ways = ["/".join([*folders[first:], ""]) for first in range(len(folders) + 1)]
        for way in ways:
            for ending in endings:
                names.short.setdefault(way + ending, set()).add(number)
        names.short.setdefault("_".join(member.key), set()).add(number)
        for way in {ways[0], "/".join([*member.key[:-1], ""])}:
            for ending in endings:
                names.whole.setdefault(way + ending, set()).add(number)
    return names


def _look_up(line: str, names: _Names) -> set[int]:
    """The images that a line names: by itself, or by a path of which the first folders lie above the data set."""
    words = line.replace("\\", "/").removeprefix("./").split("/")
    if found := names.short.get("/".join(words)):
        return found
    shorter = ("/".join(words[first:]) for first in range(1, len(words)))
    return next((names.whole[name] for name in shorter if name in names.whole), set())
