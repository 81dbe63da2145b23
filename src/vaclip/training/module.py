"""The one LightningModule: every arm trains and is tested through it."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from torch import Tensor

from vaclip import keys
from vaclip.data.transforms import Augmentation, model_inputs, prepare_batch
from vaclip.errors import VaclipError
from vaclip.losses import CompositeLoss
from vaclip.metrics.modules import SplitPredictions, split_metrics
from vaclip.models import VideoAttentionCLIP
from vaclip.models.guidance import token_weights
from vaclip.seeds import mix_seed
from vaclip.training.grad_cache import forward_in_chunks

MONITOR = "val/patient/log_loss"
CHECKPOINT_KEY = "vaclip"
_ADVICE = "Try a smaller optim.lr, trainer.precision=32-true, or look at these clips."
_LOG = logging.getLogger(__name__)


class NotFiniteError(VaclipError):
    """The loss, or what the model gives, is not finite."""


@dataclass(frozen=True)
class Optimisation:
    """AdamW with linear warm-up over ``warmup_share`` of all steps, then cosine decay to 0.

    What was trained before learns at ``pretrained_rate`` times ``lr``.
    """

    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup_share: float = 0.1
    pretrained_rate: float = 1.0


class VaclipModule(L.LightningModule):
    """Trains, validates and tests a model.

    Args:
        model: The model.
        loss: The loss.
        optimisation: How to optimise.
        augmentation: Of training segments; None for none.
        grad_cache_chunk: Segments that training runs through the model at a time, see
            `forward_in_chunks`; None for the whole batch.
        map_dropout: Share of the training segments that the predicted map guides in place of the
            given one, in the first epoch; it rises to 1 in the last.
        seed: Of augmentation and whatever a layer draws; with the epoch and the step it
            fixes every draw, so that a resumed run repeats them.
        clip_ids: By row of the study, to name clips in errors.
        metadata: Plain values to keep in checkpoints under `CHECKPOINT_KEY`, from which
            `vaclip predict` builds the model anew.

    Attributes:
        tables: The last predictions of each split, as `SplitPredictions` gives them.
    """

    def __init__(
        self,
        model: VideoAttentionCLIP,
        loss: CompositeLoss,
        optimisation: Optimisation,
        *,
        augmentation: Augmentation | None = None,
        grad_cache_chunk: int | None = None,
        map_dropout: float = 1.0,
        seed: int = 0,
        clip_ids: Sequence[str] = (),
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.aligns = loss.clip_weight > 0
        model.freeze_unused(
            align=self.aligns, token_loss=loss.lambda_token > 0, map_loss=loss.lambda_map > 0
        )
        self.model = channels_last(model)
        self.loss = loss
        self.optimisation = optimisation
        self.augmentation = augmentation
        self.grad_cache_chunk = grad_cache_chunk
        self.map_dropout = map_dropout
        self.seed = seed
        self.clip_ids = clip_ids
        self.metadata = metadata or {}
        self.val_predictions = SplitPredictions()
        self.test_predictions = SplitPredictions()
        self.tables: dict[str, dict[str, NDArray[Any]]] = {}

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        # Not once an epoch: Lightning draws of its own, in a resumed one before and else after.
        torch.manual_seed(self._draw_seed(-1 - batch_idx))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        generator = torch.Generator().manual_seed(self._draw_seed(1 + batch_idx))
        batch = prepare_batch(batch, self.augmentation, generator)
        seen, given = batch, self._shown_maps(len(batch[keys.LABEL]), generator)
        if keys.GUIDE_MAP in batch:
            given = torch.ones_like(batch[keys.ATTN_VALID])
            seen = {**batch, keys.ATTN_MAP: batch[keys.GUIDE_MAP], keys.ATTN_VALID: given}
        terms = self._loss_terms(self._run_for_training(seen, given), batch)
        self._stop_if_not_finite(terms, batch)
        logged = {f"train/{name}": value for name, value in terms.items()}
        # The terms average over processes without weights to what they are for all rows, so
        # Lightning must not weigh them by each process's share.
        self.log_dict(logged, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)
        return terms[keys.LOSS_TOTAL]

    def on_train_epoch_end(self) -> None:
        skipped = self.trainer.callback_metrics.get(f"train/{keys.CLIP_SKIPPED}")
        if skipped is not None and skipped > 1 - 1e-6 and self.current_epoch == 0:
            _LOG.warning(
                "the CLIP term has nothing to compare: no segment of any batch has both a map and "
                "a negative; see loss.clip_positives and loss.mask_same_patient"
            )

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        batch, outputs = self._predict(batch, self.val_predictions)
        if self.trainer.state.fn != TrainerFn.FITTING:
            return  # the best epoch's were logged already
        terms = self._loss_terms(outputs, batch)
        logged = {f"val/{name}": value for name, value in terms.items()}
        self.log_dict(logged, sync_dist=True, batch_size=len(batch[keys.LABEL]))

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._predict(batch, self.test_predictions)

    def on_validation_epoch_end(self) -> None:
        self._log_split("val", self.val_predictions)

    def on_test_epoch_end(self) -> None:
        metrics = self._log_split("test", self.test_predictions)
        if undefined := sorted(name for name, value in metrics.items() if math.isnan(value)):
            _LOG.warning(
                "undefined on the test split, reported as NaN (a class is missing, no clip is "
                "wrong, or the alignment was not trained): %s",
                ", ".join(undefined),
            )

    def configure_optimizers(self) -> Any:
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        before = set(self.model.video_encoder.pretrained())
        groups: list[dict[str, Any]] = [{"params": [own for own in trained if own not in before]}]
        if slow := [own for own in trained if own in before]:
            groups.append(
                {"params": slow, "lr": self.optimisation.lr * self.optimisation.pretrained_rate}
            )
        if scalars := [
            parameter for parameter in self.loss.parameters() if parameter.requires_grad
        ]:
            groups.append({"params": scalars, "weight_decay": 0.0})  # temperature and bias
        optimizer = torch.optim.AdamW(
            groups, lr=self.optimisation.lr, weight_decay=self.optimisation.weight_decay
        )
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        warmup = round(self.optimisation.warmup_share * steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(step, warmup, steps)
        )
        scheduler = {"scheduler": schedule, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[CHECKPOINT_KEY] = self.metadata

    def _predict(
        self, batch: dict[str, Tensor], predictions: SplitPredictions
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Returns the prepared batch and the model's outputs."""
        batch = prepare_batch(batch)
        outputs = self._run(batch, embed=self.aligns)
        if not torch.isfinite(outputs[keys.LOGITS]).all():
            raise NotFiniteError(
                f"the model's output is not finite in epoch {self.current_epoch}; the batch's "
                f"clips: {self._clip_names(batch)}. {_ADVICE}"
            )
        predictions.update(batch, outputs)
        return batch, outputs

    def _clip_names(self, batch: dict[str, Tensor]) -> str:
        rows = sorted(set(batch[keys.CLIP_ROW].tolist()))
        return ", ".join(self.clip_ids[row] for row in rows) if self.clip_ids else str(rows)

    def _shown_maps(self, segments: int, generator: torch.Generator) -> Tensor | None:
        """Draws which training segments are guided by the given map."""
        if self.model.map_source == "given":
            return None
        done = self.current_epoch / max(1, (self.trainer.max_epochs or 1) - 1)
        dropped = self.map_dropout + (1 - self.map_dropout) * min(1.0, done)
        return (torch.rand(segments, generator=generator) >= dropped).to(self.device)

    def _run_for_training(
        self, batch: dict[str, Tensor], map_given: Tensor | None
    ) -> dict[str, Tensor]:
        chunk = self.grad_cache_chunk
        if chunk is None or chunk >= len(batch[keys.LABEL]):
            return self._run(batch, embed=self.aligns, map_given=map_given)
        return forward_in_chunks(
            self.model,
            batch,
            chunk,
            embed=self.aligns,
            keep_tokens=self.loss.lambda_token > 0,
            keep_map=self.loss.lambda_map > 0,
            map_given=map_given,
        )

    def _run(
        self, batch: dict[str, Tensor], embed: bool = True, map_given: Tensor | None = None
    ) -> dict[str, Tensor]:
        return self.model(*model_inputs(batch), map_given=map_given, embed=embed)

    def _loss_terms(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        # Similarities over a temperature and correlations lose too much in half precision.
        with torch.autocast(self.device.type, enabled=False):
            outputs = {name: value.float() for name, value in outputs.items()}
            on_tokens = None
            if self.loss.lambda_token > 0 or self.loss.lambda_map > 0:
                on_grid = keys.VIDEO_TOKENS if self.loss.lambda_token > 0 else keys.PREDICTED_MAP
                grid = outputs[on_grid].shape[2:]
                on_tokens = token_weights(batch[keys.ATTN_MAP], batch[keys.ATTN_VALID], grid)
            facts = None
            if self.aligns:
                facts = self.loss.clip.pair_facts(
                    batch[keys.ATTN_VALID],
                    batch[keys.MAP_ID],
                    batch[keys.PATIENT],
                    batch[keys.ATTN_MAP],
                )
            teacher = batch.get(keys.TEACHER_LOGITS)
            return self.loss(outputs, batch[keys.LABEL], facts, on_tokens, teacher)

    def _stop_if_not_finite(self, terms: dict[str, Tensor], batch: dict[str, Tensor]) -> None:
        if torch.isfinite(terms[keys.LOSS_TOTAL]):
            return
        values = ", ".join(f"{name} {value.item():g}" for name, value in terms.items())
        raise NotFiniteError(
            f"the loss is not finite ({values}) in epoch {self.current_epoch}; the batch's clips: "
            f"{self._clip_names(batch)}. {_ADVICE}"
        )

    def _log_split(self, split: str, predictions: SplitPredictions) -> dict[str, float]:
        table = predictions.compute()
        predictions.reset()
        self.tables[split] = table
        metrics = split_metrics(table, aligned=self.aligns)
        self.log_dict({f"{split}/{name}": value for name, value in metrics.items()})
        return metrics

    def _draw_seed(self, step: int) -> int:
        return mix_seed(self.seed, self.global_rank, self.current_epoch, step)


def channels_last(model: VideoAttentionCLIP) -> VideoAttentionCLIP:
    """Lays the weights of 3D convolutions out as the video is, which is fastest on CPUs.

    `torch.nn.Module.to` would refuse a model that has 2D convolutions as well.
    """
    for parameter in model.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return model


def warmup_cosine(step: int, warmup: int, steps: int) -> float:
    """Returns the factor of the learning rate: linear to 1 over ``warmup``, then cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
