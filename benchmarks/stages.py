"""Which stage of lite0 makes the best tokens: logistic regression on the mean of each.

    python benchmarks/stages.py data=folder data.root=STUDY

Of the training patients of fold 0 alone: nobody's test result is looked at. Cross-validated by
patient in five parts, dealt five times; balanced accuracy per clip, mean ± standard deviation over
the deals.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vaclip.compose import compose_settings
from vaclip.data.video import decode_clip
from vaclip.features.lite0 import trained_network
from vaclip.runs.prepare import open_study, split_plan

_EVERY = 4
_MEAN, _STD = 0.498, 0.502


def main() -> None:
    warnings.filterwarnings("ignore")
    config = compose_settings(sys.argv[1:])
    study = open_study(config.data)
    patients = set(split_plan(config, study).folds[0]["train"])
    clips = [clip for clip in study.clips if clip.patient_id in patients]
    network = trained_network()
    layers = [*network.tokens, *network.rest]
    ends = {"fifth stage": len(network.tokens) - 1, "sixth": 17, "seventh": 18, "head": 21}
    pooled: dict[str, list[np.ndarray]] = {name: [] for name in ends}
    for clip in clips:
        span = {"start_s": clip.start_s, "end_s": clip.end_s}
        seen = decode_clip(clip.video, fps=config.data.fps, size=(224, 224), **span).frames
        shown = torch.from_numpy(seen[::_EVERY].copy()).permute(0, 3, 1, 2).float() / 255
        at = (shown - _MEAN) / _STD
        with torch.inference_mode():
            for number, layer in enumerate(layers):
                at = layer(at)
                for name, end in ends.items():
                    if number == end:
                        pooled[name].append(at.mean(dim=(0, 2, 3)).numpy())
    labels = np.array([clip.label for clip in clips])
    whose = [clip.patient_id for clip in clips]
    print(f"\n{study.name}: {len(clips)} clips of {len(patients)} patients\n")
    print("| tokens | channels | balanced accuracy |\n|---|---|---|")
    for name, rows in pooled.items():
        scores = []
        for deal in range(5):
            parts = StratifiedGroupKFold(5, shuffle=True, random_state=deal)
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
            said = cross_val_predict(model, np.stack(rows), labels, groups=whose, cv=parts)
            scores.append(balanced_accuracy_score(labels, said))
        spread = f"{np.mean(scores):.3f} ± {np.std(scores, ddof=1):.3f}"
        print(f"| {name} | {len(rows[0])} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
