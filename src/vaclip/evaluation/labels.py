"""How metrics are called where people read them."""

from __future__ import annotations

from typing import Final

METRICS: Final = {
    "acc_macro": "balanced accuracy",
    "acc_micro": "accuracy (micro F1)",
    "f1_macro": "macro F1",
    "auroc_macro": "macro AUROC",
    "auroc_micro": "micro AUROC",
    "ece": "ECE",
    "brier": "Brier score",
    "log_loss": "log loss",
}
ALIGNMENT: Final = {
    "align_sim_correct": "similarity where right",
    "align_sim_incorrect": "similarity where wrong",
    "align_sim_gap": "difference",
    "align_sim_corr": "correlation with being right",
}
PLACES: Final = {"r1": "R@1", "r5": "R@5", "median_rank": "median rank"}
"""What retrieval measures."""
SIDES: Final = {"v2a": "video to map", "a2v": "map to video", "chance": "chance"}
"""Which way it goes."""
AMONG: Final = {"retrieval": "all clips", "retrieval_unique": "distinct maps"}
"""What is searched."""
LOOK_MEASURES: Final = {
    "cc": "CC",
    "sim": "SIM",
    "kl": "KL",
    "nss": "NSS",
    "auc_judd": "AUC-Judd",
    "energy": "energy inside",
    "auc_shuffled": "shuffled AUC",
    "information_gain": "information gain",
}
LOOK_MAPS: Final = {
    "predicted": "predicted map",
    "gate": "gate",
    "gradcam": "Grad-CAM",
    "integrated_gradients": "integrated gradients",
    "occlusion": "occlusion",
    "clinicians": "the clinicians' map",
    "prior": "mean map of the training patients",
    "centre": "centre of the picture",
    "other": "other patients' maps",
    "annotators": "an annotator against the others",
}


def titled(label: str) -> str:
    """Returns a label as a heading begins.

    Examples:
        >>> titled("balanced accuracy"), titled("R@1")
        ('Balanced accuracy', 'R@1')
    """
    return label[:1].upper() + label[1:]
