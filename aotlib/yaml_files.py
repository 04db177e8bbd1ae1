r"""YAML files in which nothing is lost without a word. Nothing here imports torch."""

from pathlib import Path

import yaml


class StrictLoader(yaml.SafeLoader):
    r"""Plain values; a key that stands twice in one place, of which YAML would keep the last, is refused."""

    def mapping(self, node: yaml.MappingNode) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"line {node.start_mark.line + 1} and below: {twice[0]!r} stands there twice")
        return self.construct_mapping(node, deep=True)


StrictLoader.add_constructor("tag:yaml.org,2002:map", StrictLoader.mapping)


def read_yaml(path: str | Path, loader: type[yaml.SafeLoader] = StrictLoader) -> object:
    r"""What a YAML file holds.

    Raises:
        ValueError: for text that is no YAML and for a key that stands twice, with the file's name and the line.
    """
    path = Path(path)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path.name}: {error}") from error
