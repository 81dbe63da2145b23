"""vaclip: train and judge models that align patient videos with clinicians' attention maps."""

from vaclip.errors import VaclipError

__all__ = ["VaclipError", "__version__"]
__version__ = "0.1.0"
