"""The settings of a run by their dotted keys, as a command line and a file name them: train.epochs."""

import dataclasses

from tfseg.config.schema import Config

# The dataclasses by the first part of a key, and each setting by its key.
SECTIONS: dict[str, type] = {
    part.name: part.type
    for part in dataclasses.fields(Config)
    if isinstance(part.type, type) and dataclasses.is_dataclass(part.type)
}
SETTINGS = {part.name: part for part in dataclasses.fields(Config) if part.name not in SECTIONS} | {
    f"{section}.{part.name}": part for section, kind in SECTIONS.items() for part in dataclasses.fields(kind)
}


def list_settings(config: Config) -> dict[str, object]:
    """Every setting of a run by its dotted key: {"data.records": "data/city", ...}."""
    settings = {}
    for name, value in dataclasses.asdict(config).items():
        settings |= {f"{name}.{key}": item for key, item in value.items()} if name in SECTIONS else {name: value}
    return settings
