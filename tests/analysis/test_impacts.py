"""Impacts within and between classes: recovered from equations whose alpha and beta are known, and from kernels."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import expm
from torch import nn

import flexure
from flexure.analysis.impacts import impacts, impacts_of_kernels
from flexure.errors import ArgumentError
from flexure.results import Result

K, TIMES = 3, np.array([0.0, 0.5, 1.0, 2.0])


def generator(alpha, beta, model):
    """The matrix that drives all class means together ``(K p, K p)``, with p = K outputs."""
    drive = np.zeros((K, K, K, K))  # class, output, class, output
    for k in range(K):
        for m in range(K):
            d = np.eye(K)[m] - 1 / K
            onto = np.eye(K) if model == "features" else np.outer(d, d) / (d @ d)
            drive[k, :, m] = (alpha if k == m else beta) * onto / K
    return drive.reshape(K * K, K * K)


def start(model):
    rng = np.random.default_rng(1)
    return (
        2 * np.eye(K) + 0.5 + rng.normal(0, 0.3, (K, K))
        if model == "features"
        else 2 * np.eye(K) + np.diag([0.5, 0, -0.5])
    )


def means(alpha, beta, model):
    first = start(model).ravel()
    return np.stack([(expm(generator(alpha, beta, model) * t) @ first).reshape(K, K) for t in TIMES])


def test_the_generator_is_that_of_the_equation():
    assert generator(2.0, 0.5, "features")[:3, 3:6] == pytest.approx(0.5 * np.eye(3) / 3)


@pytest.mark.parametrize("model", ["features", "logits"])
@pytest.mark.parametrize(("alpha", "beta"), [(1.2, 0.3), (0.4, 0.9), (0.8, -0.2)])
def test_class_means_that_follow_the_equation_give_alpha_and_beta_back_exactly(model, alpha, beta):
    classes = np.repeat(np.arange(K), 4)
    found = impacts(means(alpha, beta, model)[:, classes], classes, TIMES, model=model).to_frame()
    assert found["alpha"].tolist() == pytest.approx([alpha] * 3) and found["beta"].tolist() == pytest.approx([beta] * 3)
    assert found["gamma"].tolist() == pytest.approx([alpha - beta] * 3)
    assert found["gamma_sum"].tolist() == pytest.approx(((alpha - beta) * TIMES[1:]).tolist())
    assert found["alpha_se"].to_numpy() == pytest.approx(0, abs=1e-9)
    assert found["begin"].tolist() == TIMES[:-1].tolist() and found["status"].eq("measured").all()


def simulated(alpha, beta, model, per_class, noise, seed):
    """The stochastic equation by small steps: every image has the drift of its class and noise of its own."""
    rng, step = np.random.default_rng(seed), 0.01
    classes = np.repeat(np.arange(K), per_class)
    drive, center = generator(alpha, beta, model), start(model)
    values = center[classes] + rng.normal(0, 1.0, (len(classes), K))
    kept, now = [values], 0.0
    for t in TIMES[1:]:
        for _ in range(round((t - now) / step)):
            exact = (expm(drive * step) @ center.ravel()).reshape(K, K)
            values = values + (exact - center)[classes] + rng.normal(0, noise * np.sqrt(step), values.shape)
            center = exact
        now = t
        kept.append(values)
    return np.stack(kept), classes


@pytest.mark.parametrize("model", ["features", "logits"])
def test_the_stochastic_equation_gives_them_back_within_four_standard_errors(model):
    values, classes = simulated(1.2, 0.3, model, per_class=150, noise=0.7, seed=0)
    found = impacts(values, classes, TIMES, model=model).to_frame()
    for name, truth in (("alpha", 1.2), ("beta", 0.3), ("gamma", 0.9)):
        assert (np.abs(found[name] - truth) <= 4 * found[f"{name}_se"]).all(), name
        assert (np.abs(found[f"{name}_sum"] - truth * found["end"]) <= 4 * found[f"{name}_sum_se"]).all(), name
    assert (found["gamma_se"] < 0.3).all()


def test_errors_say_how_far_gamma_is_from_the_truth():
    off = []
    for seed in range(60):
        values, classes = simulated(1.2, 0.3, "features", per_class=40, noise=0.7, seed=seed)
        found = impacts(values, classes, TIMES).to_frame().iloc[-1]
        off.append((found["gamma_sum"] - 0.9 * 2) / found["gamma_sum_se"])
    assert 0.75 < np.std(off) < 1.3 and abs(np.mean(off)) < 4 / np.sqrt(60)


def test_the_scatter_of_images_is_not_taken_for_a_direction():
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(K), 40)
    still = rng.normal(0, 1, (len(classes), 60))  # scatter that stays; in norm far larger than what moves
    moving = means(1.2, 0.3, "features")[:, classes]
    values = np.concatenate([moving, np.repeat(still[None], len(TIMES), 0)], 2)
    found = impacts(values, classes, TIMES).to_frame()
    assert (np.abs(found["gamma"] - 0.9) <= 4 * found["gamma_se"]).all() and (found["gamma_se"] < 0.05).all()


def test_a_mean_that_turns_around_has_no_rate_and_says_so():
    classes = np.repeat(np.arange(2), 3)
    values = np.stack([sign * np.array([1.0, 3.0])[classes][:, None] for sign in (1, 2, -1)])
    found = impacts(values, classes, [0, 1, 2]).to_frame()
    assert found["status"].tolist() == ["measured", "a mean has turned around or vanished: no rate"]
    assert np.isnan(found["gamma"][1])


def test_what_does_not_fit_is_refused():
    values, classes = np.ones((2, 6, 2)), np.repeat([0, 1], 3)
    with pytest.raises(ArgumentError, match=r"no model 'logit'\. Did you mean 'logits'"):
        impacts(values, classes, [0, 1], model="logit")
    with pytest.raises(ArgumentError, match=r"times of \(3,\); expected \(T, n, p\)"):
        impacts(values, classes, [0, 1, 2])
    with pytest.raises(ArgumentError, match="times must rise"):
        impacts(values, classes, [1, 0])
    with pytest.raises(ArgumentError, match="at least three images each; got 2, and class 0 has 2"):
        impacts(values, [0, 0, 1, 1, 1, 1], [0, 1])
    with pytest.raises(ArgumentError, match="needs an output for each of 2 classes; got 3"):
        impacts(np.ones((2, 6, 3)), classes, [0, 1], model="logits")
    values[1, 4] = np.nan
    with pytest.raises(ArgumentError, match="those of image 4 are not"):
        impacts(values, classes, [0, 1])


# From kernels


def block(alpha, beta, labels):
    """Features whose inner products are alpha within classes and beta between them, on different images."""
    count = labels.max() + 1
    return np.concatenate([np.full((len(labels), 1), np.sqrt(beta)), np.sqrt(alpha - beta) * np.eye(count)[labels]], 1)


def test_a_linear_network_on_block_features_has_their_inner_products_as_impacts():
    labels = np.repeat(np.arange(K), 5)
    x = torch.from_numpy(block(1.2, 0.3, labels)).reshape(-1, 1, 1, K + 1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(K + 1, 1, bias=False)).double()
    found = impacts_of_kernels([flexure.elasticity(network, (x, torch.from_numpy(labels)))]).to_frame().iloc[0]
    assert (found["alpha"], found["beta"], found["gamma"]) == pytest.approx((1.2, 0.3, 0.9))
    assert (found["begin"], found["n"], found["status"]) == (0.0, 15, "measured")


def test_kernels_and_paths_agree_where_residuals_are_the_features():
    """Squared loss on block features: residuals follow the equation with -alpha and -beta, by gradient flow."""
    labels = np.repeat(np.arange(K), 200)
    x = block(1.2, 0.3, labels)
    residual, step, kept = start("features")[labels], 1e-3, []
    for t in range(1001):
        if t in (0, 500, 1000):
            kept.append(residual)
        residual = residual - step * x @ (x.T @ residual) / len(labels)
    found = impacts(np.stack(kept), labels, [0, 0.5, 1]).to_frame()
    assert found["alpha"].tolist() == pytest.approx([-1.2] * 2, rel=2e-3)
    assert found["beta"].tolist() == pytest.approx([-0.3] * 2, rel=2e-3)


def test_errors_of_kernels_are_those_of_leaving_out_one_image_after_the_other():
    labels = np.arange(12) % 2
    values = np.random.default_rng(0).normal(1, 0.3, (12, 12))
    table = pd.DataFrame({"layer": ["output"]})

    def of(stay):
        arrays = {"kernel": values[np.ix_(stay, stay)], "labels": labels[stay]}
        monitor = {"monitor": {"step": 70}}
        return impacts_of_kernels([Result("elasticity", "?", table, arrays, provenance=monitor)]).to_frame().iloc[0]

    found = of(np.arange(12))
    without = np.array([of(np.delete(np.arange(12), i))[["alpha", "beta", "gamma"]] for i in range(12)], dtype=float)
    assert found[["alpha_se", "beta_se", "gamma_se"]].tolist() == pytest.approx(np.sqrt(11 * without.var(0)).tolist())
    assert found["begin"] == found["end"] == 70


def test_kernels_without_classes_are_refused():
    result = Result("elasticity", "?", pd.DataFrame({"layer": ["output"]}), {"kernel": np.eye(3)})
    with pytest.raises(ArgumentError, match="knows no classes"):
        impacts_of_kernels([result])
    with pytest.raises(ArgumentError, match="no results"):
        impacts_of_kernels([])
