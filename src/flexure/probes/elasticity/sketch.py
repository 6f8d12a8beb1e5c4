r"""Gradients projected at random to few numbers, whose inner products are the tangent kernel on average.

A gradient of P numbers is sketched: every number is added, with a random sign, to a random one of k places. Where the
gradient of a large weight is a sum of few outer products :math:`\sum_t b_t a_t^T`, both factors are sketched instead
and convolved, which sketches their product without forming it. Signs and places are keyed by the seed, the parameter's
name and the output, and by nothing else.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from flexure import rng
from flexure.probes.elasticity.factors import Convolution, Factors, Rows, Same
from flexure.probes.elasticity.tangent import Pass, Tangent

__all__ = ["Outer", "Sketch", "Whole"]

_NUMBERS = 2**22  # of transformed factors at a time
_REMEMBERED = 2**26  # signs
_PRODUCT = 1 / 12  # time of a multiplication within a matrix product, in reads and writes of a number
_TOUCHED = 3  # reads and writes of every number of a gradient that is formed and sketched
_FOURIER = 2  # those of every number and every doubling of a transform

Part = Convolution | Factors | Same | Rows


@dataclass(frozen=True)
class Whole:
    """Sketches gradients as they are: each run of k numbers is signed, turned by a random angle, and added.

    Two numbers of one run never meet in a place, those of two runs do with probability 1 / k.

    Attributes:
        signs: Of every number.
        shifts: By how many places each run is turned.
    """

    signs: torch.Tensor
    shifts: Sequence[int]

    @classmethod
    def of(cls, numbers: int, size: int, seed: int, name: str, device: torch.device, dtype: torch.dtype) -> "Whole":
        """For gradients of so many numbers."""
        shifts = _places(-(-numbers // size), size, seed, f"sketch shifts {name}", device).tolist()
        return cls(_signs(numbers, seed, f"sketch signs {name}", device, dtype), shifts)

    def add(self, g: torch.Tensor, to: torch.Tensor) -> None:
        """Add the sketch of gradients ``(rows, numbers)`` to ``(rows, k)``."""
        size = to.shape[1]
        for number, place in enumerate(self.shifts):
            start = number * size
            split, end = min(start + size - place, g.shape[1]), min(start + size, g.shape[1])
            to[:, place : place + split - start].addcmul_(g[:, start:split], self.signs[start:split])
            if split < end:
                to[:, : end - split].addcmul_(g[:, split:end], self.signs[split:end])


@dataclass(frozen=True)
class Outer:
    """Sketches sums of outer products by their factors: sketches of both, convolved and summed.

    Attributes:
        of_a: Place and sign of every number of ``a``, in each group: ``(groups, d)``.
        of_b: The same of ``b``.
    """

    of_a: tuple[torch.Tensor, torch.Tensor]
    of_b: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, part: Factors, size: int, seed: int, name: str) -> "Outer":
        """For gradients with factors like these."""
        found = []
        for which, factor in (("a", part.a), ("b", part.b)):
            shape, purpose = (factor.shape[1], factor.shape[3]), f"of {which} of {name}"
            places = _places(math.prod(shape), size, seed, f"sketch places {purpose}", factor.device)
            signs = _signs(math.prod(shape), seed, f"sketch signs {purpose}", factor.device, factor.dtype)
            found.append((places.view(shape), signs.view(shape)))
        return cls(*found)

    def add(self, part: Factors, to: torch.Tensor) -> None:
        """Add the sketch of gradients to ``(rows, k)``."""
        size = to.shape[1]
        rows = max(1, _NUMBERS // (part.a.shape[1] * part.a.shape[2] * size))
        for start in range(0, len(to), rows):
            some = slice(start, start + rows)
            a = torch.fft.rfft(_scattered(part.a[some], self.of_a, size))
            a *= torch.fft.rfft(_scattered(part.b[some], self.of_b, size))
            to[some] += torch.fft.irfft(a.sum((1, 2)), n=size)


@dataclass(frozen=True, eq=False)
class Sketch:
    r"""A random linear map of gradients to k numbers, with what is known of its error.

    With :math:`s_i` the sketch of the gradient at image i, :math:`\hat K_{ij} = s_i \cdot s_j` has the mean
    :math:`K_{ij}` and a variance of at most
    :math:`(K_{ii} K_{jj} + K_{ij}^2 + 4 (1 + 1/k)\, O_{ii} O_{jj}) / k`, O what weights that are sketched by their
    factors add to K. The first two terms are those of feature hashing, the third bounds what is added where signs and
    places of the numbers of a matrix are products and sums of those of its rows and columns: for gradients G and H of
    a matrix :math:`(\|GH^T\|^2 + \|G^TH\|^2 + \mathrm{tr}(GH^T)^2 + \mathrm{tr}(G^TH)^2) / k`.

    Attributes:
        tangent: The network's gradients.
        outputs: Outputs whose kernels are added up.
        size: k.
        seed: Of signs and places.
        outer: Weights that are sketched by their factors, because that is much cheaper.
        drawn: Signs and shifts that are kept, by parameter and output.
    """

    tangent: Tangent
    outputs: Sequence[int]
    size: int
    seed: int
    outer: frozenset[str]
    drawn: dict[tuple[str, int], Whole] = field(default_factory=dict)

    @classmethod
    def of(cls, tangent: Tangent, x: torch.Tensor, outputs: Sequence[int], size: int, seed: int) -> "Sketch":
        """What is cheaper, at images such as these few."""
        none = cls(tangent, outputs, size, seed, frozenset())
        parts = none.parts(x, outputs[:1])
        return replace(none, outer=frozenset(name for _, name, part in parts if _is_cheaper_by_factors(part, size)))

    def bytes(self, x: torch.Tensor) -> float:
        """Memory that sketching one of these images takes, about, besides the signs."""
        largest = max((p.numel() for name, p in self.tangent.parameters.items() if name not in self.outer), default=0)
        return self.tangent.bytes(x) / len(x) + largest * x.element_size()

    def variance(self, own: torch.Tensor) -> torch.Tensor:
        """Numbers ``(images, 2)`` whose inner products are the variance but for K², times k.

        Args:
            own: What each parameter adds to K of an image ``(parameters, images)``.
        """
        by_factors = [number for number, name in enumerate(self.tangent.parameters) if name in self.outer]
        more = own[by_factors].sum(0) * (2 * math.sqrt(1 + 1 / self.size))
        return torch.stack([own.sum(0), more], 1)

    def rows(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sketches of the gradients at these images ``(images, k)``, and what each parameter adds to K of an image.

        Returns:
            The second is ``(parameters, images)``, float64, and exact.
        """
        return self.of_parts(self.parts(x, self.outputs), x)

    def of_parts(self, parts: Iterable[tuple[int, str, Part]], x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same from the gradients at these images, as :meth:`parts` gives them."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        found = torch.zeros(len(x), self.size, dtype=dtype, device=x.device)
        own = {name: torch.zeros(len(x), dtype=torch.float64, device=x.device) for name in self.tangent.parameters}
        for c, name, part in parts:
            if name in self.outer and isinstance(part, Convolution | Factors):
                wide = _wide(part.factors() if isinstance(part, Convolution) else part, dtype)
                Outer.of(wide, self.size, self.seed, f"{name} {c}").add(wide, found)
                own[name] += ((wide.a @ wide.a.mT) * (wide.b @ wide.b.mT)).sum((1, 2, 3), dtype=torch.float64)
            else:
                g = part.gradients().to(dtype)
                self._whole(name, c, g).add(g, found)
                own[name] += torch.linalg.vector_norm(g, dim=1).double().square()
        return found, torch.stack(list(own.values()))

    def _whole(self, name: str, c: int, g: torch.Tensor) -> Whole:
        """Signs and shifts for these gradients, kept for the next images where that takes little room."""
        if (name, c) in self.drawn:
            return self.drawn[name, c]
        drawn = Whole.of(g.shape[1], self.size, self.seed, f"{name} {c}", g.device, g.dtype)
        if sum(p.numel() for p in self.tangent.parameters.values()) * len(self.outputs) <= _REMEMBERED:
            self.drawn[name, c] = drawn
        return drawn

    def parts(self, x: torch.Tensor, outputs: Sequence[int]) -> Iterator[tuple[int, str, Part]]:
        """Output, name and gradients of each parameter at these images, one after the other."""
        pass_ = Pass.of(self.tangent, x)
        for c in outputs:
            yield from ((c, name, part) for name, part in _of_rules(pass_, c))
            if pass_.others:
                others = {name: p for name, p in self.tangent.parameters.items() if name in pass_.others}
                alone = replace(self.tangent, parameters=others, fallback=dict.fromkeys(others, ""))
                yield from ((c, name, part) for name, part in alone.gradients(x, [c])[0].items())


def _of_rules(pass_: Pass, c: int) -> Iterator[tuple[str, Part]]:
    """The gradients of the parameters that rules know, all calls of one together."""
    if not pass_.uses:
        return
    seed = torch.zeros_like(pass_.out)
    seed[:, c] = 1
    edges = [use.edge for use in pass_.uses]
    found = torch.autograd.grad(pass_.out, edges, seed, retain_graph=True, allow_unused=True)
    both = [(use, gradient) for use, gradient in zip(pass_.uses, found, strict=True) if gradient is not None]
    for name in dict.fromkeys(name for use, _ in both for name in use.names):
        if name not in pass_.others:
            yield name, _together([use.unformed(name, gradient) for use, gradient in both if name in use.names])


def _together(parts: Sequence[Part]) -> Part:
    """Gradients of a parameter that was used several times: more places, or their sum."""
    if len(parts) == 1:
        return parts[0]
    parts = [part.factors() if isinstance(part, Convolution) else part for part in parts]
    factors = [part for part in parts if isinstance(part, Factors)]
    if len(factors) == len(parts) and len({(f.a.shape[1], f.a.shape[3], f.b.shape[3]) for f in factors}) == 1:
        return Factors(torch.cat([f.a for f in factors], 2), torch.cat([f.b for f in factors], 2))
    return Rows(torch.stack([part.gradients() for part in parts]).sum(0))


def _is_cheaper_by_factors(part: Part, size: int) -> bool:
    if not isinstance(part, Convolution | Factors):
        return False
    _, groups, places, d, p = part.shape if isinstance(part, Convolution) else (*part.a.shape, part.b.shape[3])
    whole = groups * d * p * (places * _PRODUCT + _TOUCHED)
    outer = groups * places * (_TOUCHED * (d + p) + 2 * _FOURIER * size * math.log2(size + 1))
    return outer < whole


def _wide(part: Factors, dtype: torch.dtype) -> Factors:
    """In float32 at least."""
    return Factors(part.a.to(dtype), part.b.to(dtype))


def _scattered(x: torch.Tensor, where: tuple[torch.Tensor, torch.Tensor], size: int) -> torch.Tensor:
    """Sketches of vectors ``(rows, groups, places, d)``: ``(rows, groups, places, k)``."""
    rows, groups, places, _ = x.shape
    found = x.new_zeros(groups, size, rows * places)
    for g, (place, sign) in enumerate(zip(*where, strict=True)):
        found[g].index_add_(0, place, (x[:, g].flatten(0, 1) * sign).T)
    return found.view(groups, size, rows, places).permute(2, 0, 3, 1)


def _places(count: int, size: int, seed: int, purpose: str, device: torch.device) -> torch.Tensor:
    """Uniform places among so many."""
    u = rng.uniform(count, seed=seed, purpose=purpose, index=torch.zeros(1, dtype=torch.int64))
    return (u[0] * size).long().clamp(max=size - 1).to(device)


def _signs(count: int, seed: int, purpose: str, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Random signs, 32 of them from a word."""
    zero = torch.zeros(1, dtype=torch.int64)
    words = rng.integers(-(-count // 32), seed=seed, purpose=purpose, index=zero)[0]
    bits = (words[:, None] >> torch.arange(32)) & 1
    return bits.flatten()[:count].to(dtype).mul_(2).sub_(1).to(device)
