"""From a recipe to a plan: every name found, every argument checked, every stage's key known, before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from metier.core import catalog
from metier.core.errors import InputError
from metier.core.recipe import Recipe, Reference, Stage, references
from metier.core.signature import (
    Result,
    Signature,
    accepts,
    asks_a_model,
    check_value,
    describe,
    element,
    result_of,
    signature_of,
    takes_artifacts,
)
from metier.core.source_version import source_version
from metier.core.store import Store
from metier.method import find, record_of

ENDPOINT = "openai://"  # the one kind of model that is asked where it is, and never a stage's result
State = Literal["done", "resumes", "runs"]


@dataclass(frozen=True)
class PlannedStage:
    """A checked call.

    flows: by parameter a Reference, a list of them, or a plain value; settings: all of them, defaults included, as the method
    takes them; key: what the result is stored under; state: done (stored already), resumes (was interrupted) or runs
    """

    name: str
    use: str
    function: Callable[..., Any]
    signature: Signature
    flows: dict[str, Any]
    settings: dict[str, Any]
    result: Result
    key: str
    state: State
    where: str

    @property
    def inputs(self) -> list[Reference]:
        return [reference for value in self.flows.values() for reference in references(value)]


@dataclass(frozen=True)
class Plan:
    """The stages in an order in which each comes after its inputs."""

    recipe: Recipe
    store: Store
    stages: list[PlannedStage]

    def __getitem__(self, name: str) -> PlannedStage:
        return next(stage for stage in self.stages if stage.name == name)


def plan(recipe: Recipe, folder: Path, *, force: Sequence[str] = (), start: str | None = None) -> Plan:
    """Checks a recipe whole. Raises InputError, naming file and line, at the first thing that can't be right.

    folder: the run folder; force: stages to do again although their result is there; start: a stage to do again with all that
    builds on it.
    """
    for name in [*force, *([start] if start is not None else [])]:
        if name not in recipe.stages:
            raise InputError.unknown("stage", name, recipe.stages, where=recipe.file)
    store = Store(folder)
    again = set(force)
    planned: dict[str, PlannedStage] = {}
    for name in _order(recipe):
        stage = _check(recipe, recipe.stages[name], planned)
        key = _key(stage, planned)
        if name == start or (start is not None and any(reference.stage in again for reference in stage.inputs)):
            again.add(name)
        state = "runs" if name in again else store.state(name, key)
        planned[name] = replace(stage, key=key, state=state)
    return Plan(recipe, store, list(planned.values()))


def _order(recipe: Recipe) -> list[str]:
    """Stage names, inputs first; otherwise as written. Raises InputError for unknown stages and cycles."""
    order: list[str] = []
    path: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name in path:
            cycle = " -> ".join([*path[path.index(name) :], name])
            raise InputError(f"{recipe.where('stages', name)}: the stages go round in a circle: {cycle}")
        path.append(name)
        for argument, value in recipe.stages[name].arguments.items():
            for reference in references(value):
                if reference.stage not in recipe.stages:
                    where = recipe.where("stages", name, argument)
                    raise InputError.unknown(
                        "stage", reference.stage, [other for other in recipe.stages if other != name], where=where
                    )
                visit(reference.stage)
        path.pop()
        order.append(name)

    for name in recipe.stages:
        visit(name)
    return order


def _check(recipe: Recipe, stage: Stage, planned: dict[str, PlannedStage]) -> PlannedStage:
    def where(*parts: str | int) -> str:
        return recipe.where("stages", stage.name, *parts)

    try:
        function = find(stage.use)
    except LookupError as error:
        if ":" in stage.use:
            raise InputError(f"{where('use')}: {error}") from error
        raise InputError.unknown(
            "method", stage.use, catalog.names(), where=where("use"), remedy="see `metier methods`"
        ) from error
    signature = signature_of(function)
    known = [*signature.flows, *signature.settings]
    for name in stage.arguments:
        if name not in known:
            raise InputError.unknown(f"parameter of {stage.use}", name, known, where=where(name))
    for name in known:
        if name in signature.required and name not in stage.arguments:
            kind = describe((signature.flows | signature.settings)[name])
            raise InputError(f"{where()}: stage {stage.name!r} lacks {name!r}, which {stage.use} needs ({kind})")
    flows: dict[str, Any] = {}
    first_table = None
    for name, annotation in signature.flows.items():
        if name in stage.arguments:
            flows[name] = _check_flow(annotation, stage.arguments[name], planned, where(name), name)
            kinds = [_produced(reference, planned) for reference in references(flows[name])]
            first_table = first_table or (kinds[0] if kinds else None)
    settings = dict(signature.defaults)
    settings = {name: value for name, value in settings.items() if name in signature.settings}
    if "seed" in signature.settings:
        settings["seed"] = recipe.seed
    for name, annotation in signature.settings.items():
        if name in stage.arguments:
            value = stage.arguments[name]
            if any(references(value)):
                raise InputError(
                    f"{where(name)}: {name} is a setting of {stage.use} and takes {describe(annotation)}, not a stage's result"
                )
            settings[name] = check_value(annotation, value, where=where(name), name=name)
    settings = {name: settings[name] for name in signature.settings}
    result = result_of(signature.returns, first_table)
    return PlannedStage(stage.name, stage.use, function, signature, flows, settings, result, key="", state="runs", where=where())


def _check_flow(annotation: Any, value: Any, planned: dict[str, PlannedStage], where: str, name: str) -> Any:
    inner = element(annotation)
    if isinstance(value, list) and inner is not None:
        return [_check_flow(inner, part, planned, where, name) for part in value]
    if isinstance(value, Reference):
        if inner is not None and not accepts(annotation, _produced(value, planned, where)):
            return [_check_flow(inner, value, planned, where, name)]
        produced = _produced(value, planned, where)
        if not accepts(annotation, produced):
            kind = produced.__name__ if produced is not None else "plain value"
            raise InputError(f"{where}: {name} needs {describe(annotation)}, and ${value} is a {kind}")
        return value
    if value is None and accepts(annotation, None):
        return None
    if isinstance(value, str) and value.startswith(ENDPOINT) and asks_a_model(annotation):
        return value
    if takes_artifacts(annotation):
        remedy = f", or an endpoint, written as {ENDPOINT}model@base_url" if asks_a_model(annotation) else ""
        raise InputError(
            f"{where}: {name} is {value!r}; it needs the result of a stage ({describe(annotation)}), written as $stage{remedy}"
        )
    return check_value(annotation, value, where=where, name=name)


def _produced(reference: Reference, planned: dict[str, PlannedStage], where: str = "") -> type | None:
    result = planned[reference.stage].result
    if result.fields is None:
        if reference.field is not None:
            raise InputError(f"{where}: stage {reference.stage!r} has a single result; write ${reference.stage}")
        return result.single
    if reference.field is None:
        options = ", ".join(f"${reference.stage}.{name}" for name in result.fields)
        raise InputError(f"{where}: stage {reference.stage!r} has several results; write one of {options}")
    if reference.field not in result.fields:
        raise InputError.unknown(f"result of stage {reference.stage!r}:", reference.field, result.fields, where=where)
    return result.fields[reference.field]


def _key(stage: PlannedStage, planned: dict[str, PlannedStage]) -> str:
    record = record_of(stage.function)
    inputs = {name: _keyed(value, planned) for name, value in stage.flows.items()}
    try:
        fingerprint = record.fingerprint(**stage.settings) if record.fingerprint is not None else None
    except (ValueError, OSError) as error:
        raise InputError(f"{stage.where}: stage {stage.name!r}: {error}") from error
    content = {
        "use": stage.use,
        "source": source_version(stage.function),
        "settings": to_jsonable_python(stage.settings, fallback=repr),
        "inputs": inputs,
        "fingerprint": fingerprint,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _keyed(value: Any, planned: dict[str, PlannedStage]) -> Any:
    if isinstance(value, Reference):
        return [planned[value.stage].key, value.field]
    if isinstance(value, list):
        return [_keyed(inner, planned) for inner in value]
    return to_jsonable_python(value, fallback=repr)
