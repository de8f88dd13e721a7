"""YAML files in which a key that is set twice is an error."""

from pathlib import Path

import yaml

from tfseg.config.schema import as_yaml


def read_yaml(path: str | Path) -> dict:
    """Reads a YAML file of `key: value`, where a key that is set twice is an error; {} if it is empty.

    Raises:
        ValueError: the file holds something else; in one line, with the file.
        OSError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            tree = yaml.load(file, UniqueKeys)
    except yaml.MarkedYAMLError as error:
        place = f"{path}, line {error.problem_mark.line + 1}" if error.problem_mark else str(path)
        raise ValueError(f"{place}: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {join_lines(error)}") from None
    if not isinstance(tree, dict | None):
        raise ValueError(f"{path}: expected settings as `key: value`, got {as_yaml(tree)}")
    return tree or {}


class UniqueKeys(yaml.SafeLoader):
    """PyYAML lets the later of two equal keys win without a warning: a second `train:` would undo the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            value = name = str(key.value)
            if key.tag.removeprefix("tag:yaml.org,2002:") in ("int", "float", "bool"):
                value = self.construct_object(key)  # 16 and 0x10 are one key; so are 1, 1.0 and true
                name = str(value)
            if not seen.isdisjoint((name, value)):
                raise yaml.constructor.ConstructorError(problem=f"{name} is set twice", problem_mark=key.start_mark)
            seen |= {name, value}
        return super().construct_mapping(node, deep)


def load_unique(text: str | bytes) -> object:
    """Parses YAML where a key that is set twice is an error, a `yaml.constructor.ConstructorError`."""
    return yaml.load(text, UniqueKeys)


def join_lines(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())
