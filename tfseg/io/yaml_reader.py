"""YAML files -> plain values, whatever a file holds: bounded in size, depth and number, each fault in one line.

Taken are text, numbers, true and false, null, lists, and names with values. A name that is set twice is an error, where
PyYAML lets the later one win without a word.
"""

import codecs
from pathlib import Path

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

from tfseg.io.escaping import printable, shorten
from tfseg.io.regular_files import read_file

LARGEST = 128 * 1024  # bytes of a file: a config has 4,000, a label map of 255 classes 20,000
DEEPEST = 20  # lists and mappings inside each other; a config has five
MOST_VALUES = 20_000  # of a file, counted as often as aliases repeat them
LONGEST_NUMBER = 40  # letters
_PLAIN = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map"))
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
# What begins the problem of what is too large, rather than wrong.
_BOUNDS = ("nested deeper than", "holds more than", "holds an alias of what it is in", "expected a number of at most")


def read_yaml(path: str | Path, list_keys: bool = False) -> object:
    """Reads a file of one YAML document; None if it is empty.

    Args:
        path: the file.
        list_keys: whether a name may be a list, `[1, 2]: road`; it becomes a tuple.

    Raises:
        ValueError: it is no such file, see `parse_yaml`; in one line, with the path.
        OSError: it cannot be read.
    """
    data = read_file(path, LARGEST)
    try:
        text = data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{printable(path)}: is no text in UTF-8, by its line {line}; save it as UTF-8") from None
    return parse_yaml(text, str(path), list_keys)


def parse_yaml(text: str, name: str, list_keys: bool = False) -> object:
    """Reads the text of one YAML document; `name` stands in errors, `list_keys` is as of `read_yaml`.

    Raises:
        ValueError: it is damaged, deeper or larger than `DEEPEST` and `MOST_VALUES`, sets a name twice, or holds
            something else than plain values; in one line, with the number of that in the text.
    """
    try:
        return yaml.load(text, _ListKeyLoader if list_keys else BoundedLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = str(error.problem or error.context)
        if problem == "but found another document":
            problem = "expected one document, but found another"
        raise ValueError(f"{printable(name)}{line}: {shorten(problem)}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"{printable(name)}, line {line}: holds a character that text cannot have") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # of an escape such as "\UFFFFFFFF"
        raise ValueError(f"{printable(name)}: {shorten(error)}") from None


def check_text(text: str) -> None:
    """Raises ValueError for text that another reader of YAML, without bounds, could not read in a moment."""
    if len(text) > LARGEST:
        raise ValueError(f"has {len(text):,} letters, expected at most {LARGEST:,}")
    try:
        parse_yaml(text, "text")
    except ValueError as error:
        if any(word in str(error) for word in _BOUNDS):
            raise


class BoundedLoader(yaml.SafeLoader):
    """Makes plain values of YAML, and stops at what is too deep, too large, or nothing plain."""

    list_keys = False  # whether a name may be a list of plain values

    def __init__(self, stream: str):
        super().__init__(stream)
        self.depth = self.reached = self.values = 0
        self.measures: dict[int, tuple[int, int]] = {}  # id of a node -> its values and its height
        self.keys: set[int] = set()  # ids of the nodes of lists that are names

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Counts as it composes: what aliases repeat takes no memory here, but does where it is gone through."""
        mark, is_alias = self.peek_event().start_mark, self.check_event(yaml.AliasEvent)
        before, outer, self.depth = self.values, self.reached, self.depth + 1
        self.reached = self.depth
        self._check_bounds(mark)
        node = super().compose_node(parent, index)
        if is_alias:
            if id(node) not in self.measures:
                raise ComposerError(problem=_BOUNDS[2], problem_mark=mark)
            size, height = self.measures[id(node)]
            self.values, self.reached = before + size, self.depth + height
        else:
            self.values += 1
            self.measures[id(node)] = self.values - before, self.reached - self.depth
        self._check_bounds(mark)
        self.depth, self.reached = self.depth - 1, max(outer, self.reached)
        return node

    def _check_bounds(self, mark: yaml.Mark) -> None:
        problem = None
        if self.reached > DEEPEST:
            problem = f"{_BOUNDS[0]} {DEEPEST} lists and mappings"
        elif self.values > MOST_VALUES:
            problem = f"{_BOUNDS[1]} {MOST_VALUES:,} values, counted as often as aliases repeat them"
        if problem:
            raise ComposerError(problem=problem, problem_mark=mark)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        """Makes the value of a node; refuses what is not plain, or not what its tag says."""
        name = node.tag.removeprefix("tag:yaml.org,2002:")
        if node.tag not in _PLAIN:
            wanted = "text, a number, true, false, null, a list, or names with values"
            remedy = "; in quotes it is text" if name == "timestamp" else ""
            self._refuse(node, f"expected {wanted}, got {shorten(name, 60)}{remedy}")
        if node.tag in _NUMBERS and isinstance(node, yaml.ScalarNode) and len(node.value) > LONGEST_NUMBER:
            self._refuse(node, f"{_BOUNDS[3]} {LONGEST_NUMBER} letters, got {len(node.value):,}")
        if isinstance(node, yaml.ScalarNode) and "\0" in node.value:  # which no path may have
            self._refuse(node, "holds a character that text cannot have")
        try:
            if isinstance(node, yaml.SequenceNode) and id(node) in self.keys:  # a list has no hash
                return tuple(self.construct_sequence(node, deep=True))
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):  # of !!bool x, say
            self._refuse(node, f"{shorten(repr(node.value), 60)} is no {name}")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Makes a mapping, of which no name is set twice."""
        seen = set()
        for key, _ in node.value:
            if self.list_keys and isinstance(key, yaml.SequenceNode) and _is_flat(key):
                self.keys.add(id(key))
                value = self.construct_object(key)
                if value in seen:
                    shown = ", ".join(str(item.value) for item in key.value)
                    self._refuse(key, f"{shorten(f'[{shown}]', 60)} is set twice")
                seen.add(value)
                continue
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key, "found unhashable key")
            value = name = str(key.value)
            if key.tag.removeprefix("tag:yaml.org,2002:") in ("int", "float", "bool"):
                value = self.construct_object(key)  # 16 and 0x10 are one key; so are 1, 1.0 and true
                name = str(value)
            if not seen.isdisjoint((name, value)):
                self._refuse(key, f"{shorten(name, 60)} is set twice")
            seen |= {name, value}
        return super().construct_mapping(node, deep)

    def _refuse(self, node: yaml.Node, problem: str):
        raise ConstructorError(problem=problem, problem_mark=node.start_mark)


class _ListKeyLoader(BoundedLoader):
    """Takes lists as names too, and no number that YAML reads as another one than it looks like."""

    list_keys = True

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        value = super().construct_object(node, deep)
        if type(value) is int and not node.value.lower().lstrip("+-").startswith(("0x", "0b")):
            digits = node.value.replace("_", "")
            if ":" in digits or int(digits) != value:  # 1:10 counts sixties, 010 eights
                self._refuse(node, f"{shorten(node.value, 60)} is {value} in YAML; write {value} if that is meant")
        return value


def _is_flat(node: yaml.SequenceNode) -> bool:
    return all(isinstance(item, yaml.ScalarNode) for item in node.value)
