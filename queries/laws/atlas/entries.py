"""The published laws there are, the oldest first."""

from __future__ import annotations

import math

from isoflop.queries.laws.atlas.entry import PublishedLaw

_CLARK = "Clark et al. 2022 (arXiv:2202.01169), eq. 1 and table 3"
_GADRE = "Gadre et al. 2024 (arXiv:2403.08540), eq. 4"
_DEEPSEEK = "DeepSeek-AI 2024 (arXiv:2401.02954)"
_GADRE_ABOUT = (
    "Loss on C4 of models trained on {data}, 5 to 640 tokens a parameter; params with embeddings. The coefficients are "
    "those that the paper's procedure finds on its five published runs; they are not printed in the paper's code"
)
_STEP_ABOUT = "AdamW with a cosine schedule, 3,700 models of 60M to 1B params; params without the vocabulary"
_DEEPSEEK_ABOUT = "Fitted to budgets of 1e17 to 2e19 FLOP; flops are tokens times FLOP a token, embeddings left out"


def _gadre(data: str, title: str, E: float, a: float, c: float, b: float) -> PublishedLaw:
    """Return the law of one training set: E + a N^b + c 6^(b/2) (M N)^b with b < 0, as its code writes it."""
    coefficients = {"E": E, "A": a, "B": c * 6 ** (b / 2), "alpha": -b}
    about = _GADRE_ABOUT.format(data=title)
    return PublishedLaw(f"gadre_2024_{data}", "overtraining", coefficients, _GADRE, about, known_as=("overtraining",))


def _clark(routing: str, title: str, values: tuple[float, ...]) -> PublishedLaw:
    """Return the law of one way of routing."""
    coefficients = dict(zip(("a", "b", "c", "d", "E_start", "E_max"), values, strict=True))
    about = f"Routed by {title}, all on 1.3e11 tokens, 15M to 1.3B params of the dense base, up to 512 experts"
    return PublishedLaw(f"clark_2022_{routing}", "moe", coefficients, _CLARK, about, known_as=("moe",))


ATLAS: tuple[PublishedLaw, ...] = (
    PublishedLaw(
        name="kaplan_2020",
        form="kaplan",
        coefficients={"N_c": 6.4e13, "D_c": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103},
        source="Kaplan et al. 2020 (arXiv:2001.08361), eq. 4.1 and table 2",
        about="WebText2, stopped early, up to 1.5B params without embeddings and 2.2e10 tokens",
        known_as=("kaplan", "openai"),
    ),
    PublishedLaw(
        name="kaplan_2020_params",
        form="(N_c / params) ^ alpha_N",
        coefficients={"N_c": 8.8e13, "alpha_N": 0.076},
        inputs=("params",),
        source="Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.1",
        about="WebText2, trained to convergence; params without embeddings",
    ),
    PublishedLaw(
        name="kaplan_2020_tokens",
        form="(D_c / tokens) ^ alpha_D",
        coefficients={"D_c": 5.4e13, "alpha_D": 0.095},
        inputs=("tokens",),
        source="Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.2",
        about="WebText2, large models stopped early; tokens of the training set",
    ),
    PublishedLaw(
        name="kaplan_2020_critical_batch",
        form="critical_batch_of_loss",
        coefficients={"B_star": 2e8, "alpha_B": 0.21},
        source="Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.4",
        about="WebText2; tokens a step at which a run takes twice the fewest steps and twice the fewest tokens",
    ),
    PublishedLaw(
        name="hernandez_2021",
        form="transfer",
        coefficients={"k": 1.9e4, "alpha": 0.18, "beta": 0.38},
        source="Hernandez et al. 2021 (arXiv:2102.01293), eq. 1.1, from text to Python",
        about="WebText2 to Python; both amounts are characters, and params leave embeddings out",
        known_as=("transfer",),
    ),
    PublishedLaw(
        name="hoffmann_2022",
        form="chinchilla",
        coefficients={"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28},
        source="Hoffmann et al. 2022 (arXiv:2203.15556), approach 3, eq. 10",
        about="MassiveText, 70M to 16B params, 5e9 to 5e11 tokens; coefficients as printed, which is rounded",
        known_as=("chinchilla", "hoffmann", "deepmind"),
        unrounded="hoffmann_2022_unrounded",
    ),
    PublishedLaw(
        name="hoffmann_2022_unrounded",
        form="chinchilla",
        coefficients={
            "E": math.exp(0.5267228), "A": math.exp(6.0073404), "B": math.exp(6.0179186),
            "alpha": 0.33917084, "beta": 0.2849083,
        },
        source="Hoffmann et al. 2022 (arXiv:2203.15556), approach 3, as in the source of the paper",
        about="hoffmann_2022 with the digits that the printed equation leaves away",
    ),
    PublishedLaw(
        name="muennighoff_2023",
        form="data_constrained",
        coefficients={
            "E": math.exp(0.6254804), "A": math.exp(6.255414), "B": math.exp(7.3049974),
            "alpha": 0.3526596, "beta": 0.3526596, "R_D": 15.387756, "R_N": 5.309743,
        },
        source="Muennighoff et al. 2023 (arXiv:2305.16264), appendix A",
        about="C4, 7M to 9B params, up to 9e11 tokens and 1,500 epochs, with dropout",
        known_as=("dataconstrained", "muennighoff"),
    ),
    PublishedLaw(
        name="deepseek_2024_learning_rate",
        form="k * flops ^ a",
        coefficients={"k": 0.3118, "a": -0.1250},
        inputs=("flops",),
        target="learning_rate",
        unit="1",
        source=f"{_DEEPSEEK}, eq. 1",
        about=_DEEPSEEK_ABOUT,
    ),
    PublishedLaw(
        name="deepseek_2024_batch",
        form="k * flops ^ a",
        coefficients={"k": 0.2920, "a": 0.3271},
        inputs=("flops",),
        target="batch_tokens",
        unit="token/step",
        source=f"{_DEEPSEEK}, eq. 1",
        about=_DEEPSEEK_ABOUT,
    ),
    PublishedLaw(
        name="deepseek_2024_model",
        form="k * flops ^ a",
        coefficients={"k": 0.1715, "a": 0.5243},
        inputs=("flops",),
        target="flops_per_token",
        unit="FLOP/token",
        source=f"{_DEEPSEEK}, eq. 4",
        about="IsoFLOP budgets of 1e17 to 3e20; the size of a model is its FLOP a token, embeddings left out",
    ),
    PublishedLaw(
        name="deepseek_2024_tokens",
        form="optimal_tokens",
        coefficients={"k": 5.8316, "b": 0.4757},
        source=f"{_DEEPSEEK}, eq. 4",
        about="IsoFLOP budgets of 1e17 to 3e20; flops are tokens times FLOP a token, embeddings left out",
    ),
    _clark("s_base", "S-BASE", (-0.082, -0.108, 0.009, 1.104, 1.847, 314.478)),
    _clark("rl_r", "reinforcement learning", (-0.083, -0.126, 0.012, 1.111, 1.880, 469.982)),
    _clark("hash", "hash layers", (-0.087, -0.136, 0.012, 1.157, 4.175, 477.741)),
    PublishedLaw(
        name="krajewski_2024",
        form="moe_granularity",
        coefficients={"c": 0.47, "a": 18.1, "g": 2.1, "b": 30.8, "alpha": 0.115, "beta": 0.147, "gamma": 0.58},
        source="Krajewski et al. 2024 (arXiv:2402.07871), eq. 9 and table 1",
        about="C4, 129M to 3.7B params without embeddings, 64 times a dense model's experts, 1.6e10 to 1.3e11 tokens",
        known_as=("granularity", "moegranularity"),
    ),
    PublishedLaw(
        name="krajewski_2024_dense",
        form="chinchilla",
        coefficients={"E": 0.47, "A": 16.3, "B": 26.7, "alpha": 0.126, "beta": 0.127},
        source="Krajewski et al. 2024 (arXiv:2402.07871), table 1",
        about="The dense models beside krajewski_2024, with its floor",
    ),
    _gadre("c4", "C4", E=1.5083, a=113.69, c=189.52, b=-0.24247),
    _gadre("redpajama", "RedPajama", E=1.8366, a=166.21, c=366.69, b=-0.27285),
    _gadre("refinedweb", "RefinedWeb", E=1.7345, a=125.10, c=246.21, b=-0.25439),
    PublishedLaw(
        name="besiroglu_2024",
        form="chinchilla",
        coefficients={"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658},
        std_errors={"E": 0.03, "A": 124.58, "B": 1293.23, "alpha": 0.02, "beta": 0.02},
        source="Besiroglu et al. 2024 (arXiv:2404.10102), table 1",
        about="240 runs read off figure 4 of Hoffmann et al. 2022; import published:chinchilla_epoch has them",
        known_as=("epoch", "epochai", "chinchillaepoch", "chinchillareplication"),
    ),
    PublishedLaw(
        name="llama_2024_tokens",
        form="optimal_tokens",
        coefficients={"k": 0.29, "b": 0.53},
        source="Llama team 2024 (arXiv:2407.21783), section 3.2.1",
        about="IsoFLOP budgets of 6e18 to 1e22; as printed, which gives 1.05e13 tokens at 3.8e25 FLOP where the "
        "paper says 1.655e13",
        known_as=("llama", "llama3"),
    ),
    PublishedLaw(
        name="kumar_2024",
        form="precision",
        coefficients={
            "E": 2.7648, "A": 4299.0, "B": 1.806e4, "alpha": 0.4965, "beta": 0.4965,
            "gamma_w": 2.6745, "gamma_a": 2.2102, "gamma_kv": 0.9578,
        },
        source="Kumar et al. 2024 (arXiv:2411.04330), appendix K, table 2",
        about="Dolma, 30M to 220M params without embeddings, 1.5e9 to 2.6e10 tokens, 3 to 16 bits of integers",
        known_as=("precision", "kumar"),
    ),
    PublishedLaw(
        name="mcleish_2025",
        form="chinchilla",
        coefficients={"E": 2.2059, "A": 343.14, "B": 1.6353e6, "alpha": 0.32547, "beta": 0.65126},
        source="McLeish et al. 2025 (arXiv:2502.06857), fit to the learning-rate ablation with delta 1e-3",
        about="20 models of 256 to 3,072 wide, checkpoints up to 1e11 tokens without decay; params with embeddings",
        known_as=("gemstones",),
    ),
    PublishedLaw(
        name="step_law_2025_learning_rate",
        form="optimal_learning_rate",
        coefficients={"k": 1.79, "a": -0.713, "b": 0.307},
        source="Li et al. 2025, Step Law (arXiv:2503.04715), eq. 1",
        about=_STEP_ABOUT,
        known_as=("steplaw",),
    ),
    PublishedLaw(
        name="step_law_2025_batch",
        form="optimal_batch",
        coefficients={"k": 0.58, "b": 0.571},
        source="Li et al. 2025, Step Law (arXiv:2503.04715), eq. 1",
        about=_STEP_ABOUT,
        known_as=("steplaw",),
    ),
    PublishedLaw(
        name="li_2026",
        form="nqs_regularised",
        coefficients={
            "p": 1.1131253732848405, "q": 0.584242820729791, "P_1": 3.3926855412266743, "Q_1": 0.8853327469240055,
            "e": 0.35449737765209993, "R_1": 8.410028810517371, "r": 2.5829307382669966,
        },
        source="Li and Maddison 2026 (arXiv:2605.09154), the fit of its published code",
        about="OpenWebText2, up to 2B params, sequences of 128 tokens, Adam with a cosine schedule",
        known_as=("nqs", "noisyquadratic"),
    ),
)  # fmt: skip
