"""Tells the reference what the constructors of configurations, typed dictionaries and named tuples take.

Their fields become arguments without a decorator that the reader of the source recognises, as it does `@dataclass`;
without this, every documented argument would look like one that does not exist.
"""

from __future__ import annotations

from typing import Any

import griffe


class ConfigurationFields(griffe.Extension):
    """Gives each such class an `__init__` with one argument for each annotated field."""

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Called for each class when its members are known."""
        decorators = [str(decorator.value) for decorator in cls.decorators]
        if "strict" not in decorators and not {"TypedDict", "NamedTuple"}.intersection(map(str, cls.bases)):
            return
        fields = [
            griffe.Parameter(
                attribute.name,
                annotation=attribute.annotation,
                kind=griffe.ParameterKind.keyword_only,
                default=attribute.value,
            )
            for attribute in cls.members.values()
            if isinstance(attribute, griffe.Attribute) and attribute.annotation is not None
        ]
        own = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
        cls.set_member("__init__", griffe.Function("__init__", parameters=griffe.Parameters(own, *fields), parent=cls))
