"""What should the diagnosis read beside the guided tokens? On toy tokens, not on videos.

    python benchmarks/global_path.py

Each patient has three small patches of three kinds at three of five places; the class is the kind
of the one that the map marks, and a cue lies on it. What a patient's tokens have in common
(``offset``) says nothing. 36 patients with 4 clips train, 150 others test; chance is 1/3.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaclip.losses.map import map_loss
from vaclip.models.guidance import WeightedPoolGuidance
from vaclip.models.map_head import MapHead, guiding_map

CHANNELS, GRID, KINDS = 24, (2, 8, 8), 3
PLACES = [(1, 3), (2, 6), (4, 2), (5, 5), (7, 3)]
FORMS = ("guided alone", "average", "both side by side", "mean and difference")


def draw_cohort(
    patients: int, clips: int, offset: float, basis: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns tokens, maps on the token grid and labels of all clips."""
    tokens, maps, labels = [], [], []
    for _ in range(patients):
        where = torch.randperm(len(PLACES), generator=generator)[:KINDS].tolist()
        label = int(torch.randint(KINDS, (), generator=generator))
        marked = int(torch.randint(KINDS, (), generator=generator))
        rest = [k for k in torch.randperm(KINDS, generator=generator).tolist() if k != label]
        kinds = [label if number == marked else rest.pop() for number in range(KINDS)]
        common = torch.randn(CHANNELS, 1, 1, 1, generator=generator) * offset
        for _ in range(clips):
            own = torch.randn(CHANNELS, *GRID, generator=generator) + common
            attn = torch.zeros(1, *GRID)
            for number, (y, x) in enumerate(PLACES[place] for place in where):
                own[:, :, y, x] += 2.5 * basis[kinds[number]][:, None]
                if number == marked:
                    own[:, :, y, x] += 2.5 * basis[KINDS][:, None]
                    attn[:, :, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 0.5
                    attn[:, :, y, x] = 1.0
            tokens.append(own)
            maps.append(attn)
            labels.append(label)
    return torch.stack(tokens), torch.stack(maps), torch.tensor(labels)


class Toy(nn.Module):
    """Guided pooling, one of `FORMS`, and a classifier."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.head = MapHead(CHANNELS, 32)
        self.guidance = WeightedPoolGuidance(CHANNELS, 1, 8, False)
        wide = form in FORMS[2:]
        self.feature = nn.Sequential(nn.Linear((1 + wide) * CHANNELS, 64), nn.ReLU())
        self.classifier = nn.Linear(64, KINDS)

    def forward(self, tokens: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, predicted = tokens.mean(dim=(2, 3, 4)), self.head(tokens)
        valid = torch.ones(len(tokens), dtype=torch.bool)
        guide = guiding_map(predicted, predicted, ~valid) if given is None else given
        guided = self.guidance(tokens, guide, valid).pooled
        read = {
            "guided alone": guided,
            "average": (guided + mean) / 2,
            "both side by side": torch.cat([guided, mean], dim=1),
            "mean and difference": torch.cat([guided - mean, mean], dim=1),
        }[self.form]
        return self.classifier(self.feature(read)), predicted


def accuracy(form: str, taught: bool, offset: float, seed: int) -> float:
    """Trains one toy, guided by the given map or by one that is taught, and tests it."""
    generator = torch.Generator().manual_seed(seed)
    torch.randn(4, CHANNELS, generator=generator)
    basis = 2 * torch.linalg.qr(torch.randn(CHANNELS, KINDS + 1, generator=generator))[0].T
    tokens, maps, labels = draw_cohort(36, 4, offset, basis, generator)
    test_tokens, test_maps, test_labels = draw_cohort(150, 1, offset, basis, generator)
    torch.manual_seed(seed)
    model = Toy(form)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05)
    for _ in range(25):
        for rows in torch.randperm(len(tokens)).split(16):
            logits, predicted = model(tokens[rows], None if taught else maps[rows])
            loss = F.cross_entropy(logits, labels[rows])
            if taught:
                every = torch.ones(len(rows), dtype=torch.bool)
                loss = loss + map_loss(predicted, maps[rows], every)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    with torch.no_grad():
        logits, _ = model(test_tokens, None if taught else test_maps)
    return float((logits.argmax(dim=1) == test_labels).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    torch.set_num_threads(1)
    print("| common to a patient's tokens | map |", " | ".join(FORMS), "|")
    print("|---|---|" + "---|" * len(FORMS))
    for offset in (0.5, 0.0):
        for taught in (False, True):
            found = [[accuracy(form, taught, offset, seed) for seed in seeds] for form in FORMS]
            cells = [
                f"{sum(own) / len(own):.2f} ({min(own):.2f} to {max(own):.2f})" for own in found
            ]
            print(
                f"| {offset} | {'taught' if taught else 'given'} |",
                " | ".join(cells),
                "|",
                flush=True,
            )


if __name__ == "__main__":
    main()
