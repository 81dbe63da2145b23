"""Pages from templates: everything is escaped, and a name that there is not is an error."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def page_templates(*packages: str) -> Environment:
    """Returns the templates of some packages, the first that has one of a name."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def source_text(templates: Environment, name: str) -> str:
    """Returns a style sheet or script as it is, without rendering it."""
    assert templates.loader is not None
    return templates.loader.get_source(templates, name)[0]
