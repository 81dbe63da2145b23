"""encoder.onnx: a frozen encoder in a file of its own, which may stay behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vaclip.data.cache import clip_cache
from vaclip.errors import VaclipError
from vaclip.export.folder import ENCODER, SETTINGS
from vaclip.export.network import PICTURES, TOKENS, TokenEncoder
from vaclip.export.programs import write_onnx
from vaclip.export.tokens import neighbours, onnx_session
from vaclip.features import EncoderInfo, open_encoder
from vaclip.files import atomic_file, read_json


def write_encoder(encoder: TokenEncoder, info: EncoderInfo, path: Path) -> None:
    """Writes an encoder as ONNX: from normalised pictures, or windows, to tokens.

    Args:
        encoder: Which one.
        info: What is known of it.
        path: Where to.

    Raises:
        VaclipError: If torch cannot export it, or ONNX Runtime makes other tokens of noise.
    """
    shape = (2, 3, info.window, *info.size) if info.window > 1 else (2, 3, *info.size)
    pictures = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with atomic_file(path) as temporary:
        write_onnx(encoder, {PICTURES: pictures}, [TOKENS], temporary)
        (found,) = onnx_session(temporary).run(None, {PICTURES: pictures.numpy()})
        with torch.inference_mode():
            own = encoder(pictures).numpy()
        if not neighbours(np.asarray(found), own):
            raise VaclipError(f"ONNX Runtime makes other tokens than torch with {info.name}")


def add_encoder(source: str, folder: Path) -> Path:
    """Adds to an exported folder the encoder that was not passed on with it.

    Args:
        source: As ``features.source`` names it, where its weights lie here.
        folder: The exported folder.

    Returns:
        The file.

    Raises:
        VaclipError: If the folder needs none, or other weights.
    """
    stated = read_json(folder / SETTINGS, f"{folder / SETTINGS}")["encoder"]
    if not stated or not stated["file"]:
        raise VaclipError(f"the model in {folder} needs no encoder beside it")
    encoder = open_encoder(source, clip_cache(None))
    if encoder.info.weights != stated["hash"]:
        raise VaclipError(
            f"the model in {folder} was trained on {stated['source']} with the hash "
            f"{stated['hash']}, and {source} has {encoder.info.weights}: these are other weights, "
            "or another config.json"
        )
    height, width = stated["grid"]
    write_encoder(TokenEncoder(encoder, (height, width)), encoder.info, folder / ENCODER)
    return folder / ENCODER
