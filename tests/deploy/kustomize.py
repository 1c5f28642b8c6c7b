"""As much of kustomize as the project's overlays use: resources, components, JSON patches, generated ConfigMaps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

#: What this can do; anything else in a kustomization must not be passed over in silence.
_KNOWN = {
    "apiVersion", "kind", "namespace", "resources", "components", "patches", "labels", "configMapGenerator", "images",
}  # fmt: skip


def build(directory: Path) -> list[dict[str, Any]]:
    """Return the objects that `kubectl apply -k` would apply."""
    told = yaml.safe_load((directory / "kustomization.yaml").read_text("utf-8"))
    assert told.keys() <= _KNOWN, f"{directory}: teach this file {told.keys() - _KNOWN}"
    objects = [each for name in told.get("resources", ()) for each in _resources(directory / name)]
    objects += [_config_map(each) for each in told.get("configMapGenerator", ())]
    for name in told.get("components", ()):
        component = yaml.safe_load((directory / name / "kustomization.yaml").read_text("utf-8"))
        objects += [each for file in component.get("resources", ()) for each in _resources(directory / name / file)]
        _patch_all(objects, component.get("patches", ()))
    _patch_all(objects, told.get("patches", ()))
    for each in objects:
        if "namespace" in told and each["kind"] != "Namespace":
            each["metadata"]["namespace"] = told["namespace"]
        for label in told.get("labels", ()):
            each["metadata"].setdefault("labels", {}).update(label["pairs"])
    return objects


def _resources(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_dir():
        yield from build(path)
    else:
        yield from yaml.safe_load_all(path.read_text("utf-8"))


def _config_map(told: dict[str, Any]) -> dict[str, Any]:
    data = dict(literal.split("=", 1) for literal in told["literals"])
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": told["name"]}, "data": data}


def _patch_all(objects: list[dict[str, Any]], patches: Any) -> None:
    for patch in patches:
        kind, name = patch["target"]["kind"], patch["target"]["name"]
        targets = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
        assert targets, f"a patch has no target: {kind} {name}"
        for target in targets:
            for operation in yaml.safe_load(patch["patch"]):
                _apply(target, **operation)


def _apply(target: Any, op: str, path: str, value: Any) -> None:
    """RFC 6902: `add` and `replace`; a path that is not there is an error."""
    *way, last = path.strip("/").split("/")
    for step in way:
        target = target[int(step)] if isinstance(target, list) else target[step]
    if isinstance(target, list):
        assert (op, last) == ("add", "-")
        target.append(value)
    else:
        assert op == "add" or last in target, f"{path} is not there"
        target[last] = value
