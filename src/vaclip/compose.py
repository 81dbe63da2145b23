"""Settings as Hydra composes them from ``conf/`` and a folder of one's own, in Python."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from vaclip.config import Config, StudyRunConfig, typed_config, unknown_key
from vaclip.errors import VaclipError, did_you_mean
from vaclip.files import user_path


def compose_settings(
    overrides: Sequence[str] = (),
    name: str = "config",
    *,
    config_dir: str | Path | None = None,
    root: str | Path | None = None,
) -> Config:
    """Composes and checks settings as the command line does.

    Args:
        overrides: As on the command line, ``KEY=VALUE`` or ``GROUP=NAME``.
        name: ``config``, the settings of a run, or ``study``, which gives a `StudyRunConfig`.
        config_dir: A folder with files of one's own, such as ``experiment/MINE.yaml``.
        root: The study folder; as ``data=folder data.root=ROOT``, but needs no quotes.

    Raises:
        VaclipError: If a setting is unknown, of the wrong type or not allowed.

    Examples:
        >>> compose_settings(["experiment=B0"]).model.map_guided
        False
    """
    source = [] if root is None else ["data=folder", "data.root=."]
    with explained():
        composed = _loader(config_dir).load_configuration(
            name, [*source, *overrides], RunMode.RUN, from_shell=False
        )
        with open_dict(composed):
            del composed["hydra"]
        config = typed_config(composed)
    if root is not None:
        config.data.root = str(root)
    return config


def quoted(value: str) -> str:
    """Returns a text as Hydra's grammar quotes it, whatever is in it."""
    return QuotedString(value, Quote.single).with_quotes()


def arm_names(config_dir: str | Path | None = None) -> list[str]:
    """Returns the names of all arms, those of a folder of one's own included."""
    with explained():
        return _loader(config_dir).get_group_options("experiment")


def arm_file(arm: str, config_dir: str | Path | None = None) -> dict[str, Any]:
    """Returns what an arm's own file says, without what it inherits."""
    with explained():
        found = _loader(config_dir).repository.load_config(f"experiment/{arm}")
    if found is None:
        raise unknown_arm(arm, arm_names(config_dir))
    return cast(dict[str, Any], OmegaConf.to_container(found.config))


def unknown_arm(arm: str, known: Sequence[str]) -> VaclipError:
    """Returns the error for an arm that there is not."""
    return VaclipError(
        f"there is no arm '{arm}'.{did_you_mean(arm, known)} There are {', '.join(known)}; one of "
        "your own is FOLDER/experiment/NAME.yaml with --config-dir FOLDER"
    )


def _loader(config_dir: str | Path | None) -> ConfigLoaderImpl:
    """Returns what finds and composes the files.

    Hydra's public `compose` reads from one search path a process, that of the command or the
    notebook that runs; this reads from vaclip's, whatever else is initialised.
    """
    version.setbase("1.3")
    search_path = create_config_search_path("pkg://vaclip.conf")
    if config_dir is not None:
        folder = user_path(config_dir).absolute()
        if not folder.is_dir():
            raise VaclipError(f"there is no folder {folder}, which --config-dir names")
        search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(search_path)


@contextmanager
def explained() -> Generator[None]:
    """Turns errors of composing settings into `VaclipError`s."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises, and we explain
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error) from error
    except ValueError as error:
        if not str(error).startswith("Config group override"):
            raise
        raise VaclipError(f"{error}: leave it out, or name one of its files") from error


def explain(error: Exception) -> VaclipError:
    """Turns Hydra's or OmegaConf's error into one message, with the nearest right key."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = [option for option in error.options if not option.startswith("_")]
        for other in ("experiment", "debug", "study", "data"):
            if other != group and name in _loader(None).get_group_options(other):
                meant = f"{other}={name}"
                if other == "debug":
                    meant += f" of vaclip train, study={name} of vaclip study"
                return VaclipError(f"there is no {group}={name}; you may mean {meant}")
        if group == "experiment":
            return unknown_arm(name, options)
        hint = did_you_mean(name, options)
        return VaclipError(f"there is no {group}={name}.{hint} There are {', '.join(options)}")
    message = str(error).split("\n    full_key:")[0].split("\nTo append")[0].strip()
    unknown = re.search(r"Could not override '([\w.]+)'|Key '([\w.]+)' is not in struct", message)
    cause = error.__cause__
    if "Key 'experiment' not in" in message:
        return VaclipError(
            f"{message.split(':')[0]}: the file of an arm begins with the line # @package _global_"
        )
    if unknown and (cause is None or "not in" in str(cause)):
        key = unknown[1] or getattr(error, "full_key", None) or unknown[2]
        return unknown_key(key, StudyRunConfig if key.startswith("study.") else Config)
    detail = str(cause).split("\n    full_key:")[0] if cause else ""
    return VaclipError(f"{message} {detail}".strip())
