"""A small GPT in one file, as one writes it for oneself: argparse, a loop, one line of JSON each few steps."""

import argparse
import json
import math
import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY, CONTEXT, BATCH = 64, 32, 8


def text(length: int) -> Tensor:
    """Return made-up text (length,): each letter follows from the one before, by a table drawn from one seed."""
    source = torch.Generator().manual_seed(0)
    table = torch.randn(VOCABULARY, VOCABULARY, generator=source).mul(2).softmax(1)
    letters = [0]
    for _ in range(length - 1):
        letters.append(int(torch.multinomial(table[letters[-1]], 1, generator=source)))
    return torch.tensor(letters)


class Block(nn.Module):
    """Attention, then two layers, each beside its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        split = [
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norms[0](x)).chunk(3, -1)
        ]
        mixed = functional.scaled_dot_product_attention(*split, is_causal=True)  # (B, heads, T, width / heads)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.norms[1](x))))


class GPT(nn.Module):
    """Embeddings, blocks, a head."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, width), nn.Embedding(CONTEXT, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, VOCABULARY, bias=False))

    def forward(self, letters: Tensor) -> Tensor:
        return self.head(self.blocks(self.tokens(letters) + self.places.weight[: letters.shape[1]]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("."))
    given = parser.parse_args()

    torch.manual_seed(given.seed)
    letters = text(20_000)
    model = GPT(given.width, given.depth, heads=max(1, given.width // 16))
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.lr)
    params = sum(each.numel() for each in model.parameters())
    first, checkpoint = 1, given.out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"] + 1

    for step in range(first, given.steps + 1):
        draw = torch.Generator().manual_seed(1_000_003 * given.seed + step)  # the same batch whenever the step is taken
        rows = torch.randint(len(letters) - CONTEXT - 1, (BATCH,), generator=draw)
        batch = torch.stack([letters[row : row + CONTEXT + 1] for row in rows])
        loss = functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        for group in optimizer.param_groups:
            group["lr"] = given.lr * (0.55 + 0.45 * math.cos(math.pi * step / given.steps))  # down to a tenth
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 5 == 0 or step == given.steps:
            tokens = step * BATCH * CONTEXT
            point = {
                "step": step,
                "loss": loss.item(),
                "params": params,
                "tokens": tokens,
                "flops": 6 * params * tokens,
            }
            print(json.dumps(point), flush=True)
            partial = checkpoint.with_suffix(".partial")
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, partial)
            os.replace(partial, checkpoint)  # whole or not at all: the process may be ended at any moment


if __name__ == "__main__":
    main()
