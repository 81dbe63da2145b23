"""Train and judge models that align patient videos with maps of where clinicians look.

What this package offers is loaded when it is first used, so that importing it is cheap:

>>> import vaclip as vc
>>> vc.Predictions.__module__
'vaclip.evaluation.predictions'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vaclip.errors import VaclipError

if TYPE_CHECKING:
    from vaclip.audit.check import check
    from vaclip.audit.describe import describe
    from vaclip.evaluation.compare import compare
    from vaclip.evaluation.evaluate import evaluate
    from vaclip.evaluation.predictions import Predictions
    from vaclip.models import VideoAttentionCLIP
    from vaclip.reports.page import write_report
    from vaclip.runs.finished import load_run
    from vaclip.runs.predict import load_predictor
    from vaclip.runs.train import train
    from vaclip.study.load import load_study

__version__ = "0.1.0"
__all__ = [
    "Predictions",
    "VaclipError",
    "VideoAttentionCLIP",
    "__version__",
    "check",
    "compare",
    "describe",
    "evaluate",
    "load_predictor",
    "load_run",
    "load_study",
    "train",
    "write_report",
]
_HOMES = {
    "Predictions": "vaclip.evaluation.predictions",
    "VideoAttentionCLIP": "vaclip.models",
    "check": "vaclip.audit.check",
    "compare": "vaclip.evaluation.compare",
    "describe": "vaclip.audit.describe",
    "evaluate": "vaclip.evaluation.evaluate",
    "load_predictor": "vaclip.runs.predict",
    "load_run": "vaclip.runs.finished",
    "load_study": "vaclip.study.load",
    "train": "vaclip.runs.train",
    "write_report": "vaclip.reports.page",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vaclip' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
