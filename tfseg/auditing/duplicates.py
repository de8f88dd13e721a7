"""Images that are there twice, and frames of one drive in two splits.

Both make a score on the other split say less than it seems to. They are kept apart, since the remedy differs: of a
duplicate one copy goes; a drive goes into one split as a whole.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfseg.auditing.features import Features
from tfseg.auditing.findings import Finding
from tfseg.auditing.fingerprints import find_alike, similarity

DUPLICATE = 0.9  # similarity from which two images are taken for one; see `fingerprints` for what others reach
CERTAIN = 0.97  # similarity from which nearly all are
SIMILAR = 0.5  # of frames of one drive: more than images of different places reach
# Expected share of faults among pairs: across splits a copy is one whatever else is true; within one, it costs little.
ACROSS_EXACT, ACROSS_CERTAIN, ACROSS = 0.99, 0.97, 0.8
WITHIN_EXACT, WITHIN, WITHIN_OTHER_MASK, REPEATED_FRAMES = 0.45, 0.3, 0.9, 0.02
LEAKAGE, LEAKAGE_OF_COPIES = 0.85, 0.95
Drives = dict[str, dict[str, list[tuple[int, int]]]]  # stem -> split -> numbers of frames, and their places
_SHOWN = 3  # ids that a sentence names


class Pair(NamedTuple):
    """Two images that look alike, as places in the list of all features."""

    first: int
    second: int
    similarity: float
    mirrored: bool
    exact: bool  # their pixels are equal


def find_duplicates(features: Sequence[Features]) -> list[Finding]:
    """Finds duplicates within and across splits, and drives that lie in two.

    Args:
        features: of all images of all splits.

    Returns:
        A finding for each image that has a copy in a larger split, for each group of copies within a split, for each
        drive with repeated frames in a split, and for each drive with similar frames in two splits.
    """
    pairs = find_pairs(features)
    apart = [pair for pair in pairs if pair.exact or not are_frames(features[pair.first], features[pair.second])]
    frames = [pair for pair in pairs if not pair.exact and are_frames(features[pair.first], features[pair.second])]
    sizes = _count_splits(features)
    return [
        *_across(features, [pair for pair in apart if _crosses(features, pair)], sizes),
        *_within(features, [pair for pair in apart if not _crosses(features, pair)]),
        *_repeated(features, [pair for pair in frames if not _crosses(features, pair)]),
        *find_leakage(features, [pair for pair in frames if _crosses(features, pair)]),
    ]


def find_pairs(features: Sequence[Features]) -> list[Pair]:
    """Finds all pairs of at least the similarity `DUPLICATE`, and those of equal pixels."""
    thumbnails = np.stack([one.thumbnail for one in features])
    pairs = []
    for first, second, similar, mirrored in find_alike(thumbnails, DUPLICATE):
        exact = features[first].digest == features[second].digest
        pairs.append(Pair(first, second, 1.0 if exact else similar, mirrored and not exact, exact))
    return pairs


def split_id(id: str) -> tuple[str, int] | None:
    """Parts an id into a stem and the number of a frame, its last: "drive/0016E5_07959" -> ("drive/0016E5_*", 7959).

    Returns:
        None of an id without a number.
    """
    place = next(reversed(list(re.finditer(r"\d+", id))), None)
    if place is None or len(place[0]) > 18:
        return None
    return f"{id[: place.start()]}*{id[place.end() :]}", int(place[0])


def _stem(one: Features) -> str:
    parts = split_id(one.id)
    return one.id if parts is None else parts[0]


def are_frames(one: Features, other: Features) -> bool:
    """Whether two ids have one stem and different numbers."""
    parts = split_id(one.id), split_id(other.id)
    return parts[0] is not None and parts[1] is not None and parts[0][0] == parts[1][0] and parts[0][1] != parts[1][1]


def _count_splits(features: Sequence[Features]) -> dict[str, int]:
    sizes: dict[str, int] = defaultdict(int)
    for one in features:
        sizes[one.split] += 1
    return sizes


def _crosses(features: Sequence[Features], pair: Pair) -> bool:
    return features[pair.first].split != features[pair.second].split


def _order(features: Sequence[Features], pair: Pair, sizes: dict[str, int]) -> tuple[int, int]:
    """Gives the places of a pair, that of the smaller split first: it is the one that a score is taken on."""
    first, second = sorted(
        (pair.first, pair.second), key=lambda place: (sizes[features[place].split], features[place].split)
    )
    return first, second


def _how(pair: Pair) -> str:
    if pair.exact:
        return "has the same pixels as"
    return f"{'mirrored, ' if pair.mirrored else ''}looks as"


def _across(features: Sequence[Features], pairs: list[Pair], sizes: dict[str, int]) -> Iterator[Finding]:
    copies: dict[int, list[tuple[Pair, int]]] = defaultdict(list)
    for pair in pairs:
        subject, other = _order(features, pair, sizes)
        copies[subject].append((pair, other))
    for subject, found in copies.items():
        found.sort(key=lambda entry: (-entry[0].exact, -entry[0].similarity, features[entry[1]].id))
        (best, other), more = found[0], len(found) - 1
        one, twin = features[subject], features[other]
        score = ACROSS_EXACT if best.exact else ACROSS_CERTAIN if best.similarity >= CERTAIN else ACROSS
        rest = f", and {more} more" if more else ""
        yield Finding(
            "duplicates",
            one.split,
            one.id,
            f"{_how(best)} {twin.split}/{twin.id}{rest}, in another split",
            score,
            details=_details(best)
            | {
                "other_split": twin.split,
                "copies": [f"{features[place].split}/{features[place].id}" for _, place in found],
            },
        )


def _within(features: Sequence[Features], pairs: list[Pair]) -> Iterator[Finding]:
    for members, own in _groups(pairs):
        ordered = sorted(members, key=lambda place: features[place].place)
        exact = all(pair.exact for pair in own)
        others = any(_other_mask(features[pair.first], features[pair.second]) for pair in own if pair.exact)
        score = WITHIN_OTHER_MASK if others else WITHIN_EXACT if exact else WITHIN
        first, rest = features[ordered[0]], [features[place].id for place in ordered[1:]]
        best = max(own, key=lambda pair: pair.similarity)
        yield Finding(
            "duplicates",
            first.split,
            first.id,
            f"{_how(best)} {_some(rest)}, in the same split{', but their masks differ' if others else ''}",
            score,
            details=_details(best) | {"copies": [f"{first.split}/{id}" for id in rest], "masks_differ": others},
        )


def _other_mask(one: Features, other: Features) -> bool:
    return one.mask_digest != other.mask_digest


def _groups(pairs: list[Pair]) -> Iterator[tuple[set[int], list[Pair]]]:
    """Joins pairs that share an image: the places of each group, and its pairs."""
    leader: dict[int, int] = {}

    def find(place: int) -> int:
        while leader.setdefault(place, place) != place:
            leader[place] = place = leader[leader[place]]
        return place

    for pair in pairs:
        leader[find(pair.second)] = find(pair.first)
    groups: dict[int, tuple[set[int], list[Pair]]] = defaultdict(lambda: (set(), []))
    for pair in pairs:
        members, own = groups[find(pair.first)]
        members.update((pair.first, pair.second))
        own.append(pair)
    yield from groups.values()


def _repeated(features: Sequence[Features], pairs: list[Pair]) -> Iterator[Finding]:
    """One finding for each drive in each split, however many of its frames look alike."""
    drives: dict[tuple[str, str], set[int]] = defaultdict(set)
    for pair in pairs:
        drives[features[pair.first].split, _stem(features[pair.first])].update((pair.first, pair.second))
    totals = Counter((one.split, _stem(one)) for one in features) if drives else Counter()
    for (split, stem), members in drives.items():
        count = f"{len(members)} of {totals[split, stem]}"
        yield Finding(
            "duplicates",
            split,
            "",
            f"{count} frames of {stem} look as another frame of the drive, in the same split",
            REPEATED_FRAMES,
            details={"stem": stem, "images": sorted(features[place].id for place in members)},
        )


# ---- leakage


def find_leakage(features: Sequence[Features], copies: Sequence[Pair] = ()) -> list[Finding]:
    """Finds drives with frames in two splits that look alike: each frame of the smaller split against its neighbours.

    Args:
        features: of all images of all splits.
        copies: pairs of frames of one drive in two splits that are known to look alike.

    Returns:
        A finding for each drive and pair of splits.
    """
    drives: Drives = defaultdict(lambda: defaultdict(list))
    for place, one in enumerate(features):
        if parts := split_id(one.id):
            drives[parts[0]][one.split].append((parts[1], place))
    known = _group_copies(features, copies, drives)
    findings = []
    for stem, splits in drives.items():
        names = _smallest_first(splits)
        for index, smaller in enumerate(names):
            for larger in names[index + 1 :]:
                pairs = _similar_neighbours(features, splits[smaller], splits[larger])
                pairs |= known.get((stem, smaller, larger), {})
                if pairs:
                    findings.append(_leak(features, stem, smaller, larger, len(splits[smaller]), pairs))
    return findings


def _similar_neighbours(
    features: Sequence[Features], ours: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    """Compares each frame with the one before and the one after it of the other split; pairs -> similarity."""
    theirs = sorted(theirs)
    numbers = np.array([number for number, _ in theirs])
    pairs = []
    for number, place in ours:
        after = int(np.searchsorted(numbers, number))
        pairs += [(place, theirs[near][1]) for near in (after - 1, after) if 0 <= near < len(theirs)]
    similar = {}
    for start in range(0, len(pairs), 2048):
        part = pairs[start : start + 2048]
        images = [np.stack([features[pair[side]].thumbnail for pair in part]) for side in (0, 1)]
        similar |= dict(zip(part, similarity(*images).tolist(), strict=True))
    return {pair: value for pair, value in similar.items() if value >= SIMILAR}


def _smallest_first(splits: dict[str, list[tuple[int, int]]]) -> list[str]:
    return sorted(splits, key=lambda name: (len(splits[name]), name))


def _group_copies(
    features: Sequence[Features], copies: Sequence[Pair], drives: Drives
) -> dict[tuple[str, str, str], dict[tuple[int, int], float]]:
    """Groups pairs by drive, smaller and larger split: places, in this order -> similarity."""
    groups: dict[tuple[str, str, str], dict[tuple[int, int], float]] = defaultdict(dict)
    for pair in copies:
        stem = _stem(features[pair.first])
        order = _smallest_first(drives[stem])
        ours, theirs = sorted((pair.first, pair.second), key=lambda place: order.index(features[place].split))
        groups[stem, features[ours].split, features[theirs].split][ours, theirs] = pair.similarity
    return groups


def _leak(
    features: Sequence[Features],
    stem: str,
    smaller: str,
    larger: str,
    total: int,
    pairs: dict[tuple[int, int], float],
) -> Finding:
    (ours, theirs), highest = max(pairs.items(), key=lambda entry: entry[1])
    frames = {one for one, _ in pairs}
    return Finding(
        "leakage",
        smaller,
        "",
        f"{len(frames)} of {total} frames of {stem} look like a neighbour of theirs in {larger}, most of all "
        f"{features[ours].id} and {features[theirs].id}; keep a drive in one split",
        LEAKAGE_OF_COPIES if highest >= DUPLICATE else LEAKAGE,
        details={
            "stem": stem,
            "other_split": larger,
            "frames": total,
            "similar_frames": len(frames),
            "pairs": [
                {"id": features[one].id, "other": features[other].id, "similarity": round(value, 3)}
                for (one, other), value in sorted(pairs.items(), key=lambda entry: -entry[1])
            ],
        },
    )


def _details(pair: Pair) -> dict:
    return {"similarity": round(pair.similarity, 4), "exact": pair.exact, "mirrored": pair.mirrored}


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else "")
