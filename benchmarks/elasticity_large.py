"""What does the tangent kernel of very many images cost? A ResNet-18 on 32×32 images, one output, by a sketch.

python benchmarks/elasticity_large.py [--images N] [--sketch K] [--data folder:PATH] [--folder DIR] [--memory BYTES]

Without ``--data`` the images are noise, which costs the same. With ``--folder`` the kernel is kept as blocks of rows,
and a run that was stopped goes on. Weights are random; one thread. Prints CPU time, memory, the error of the sketch.
"""

import argparse
import resource
import time

import torch

import flexure


def main() -> None:
    """Measure once, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--sketch", type=int, default=4096)
    parser.add_argument("--data")
    parser.add_argument("--folder")
    parser.add_argument("--memory", type=float, default=4e9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = flexure.resolve("resnet18", num_classes=1, seed=0)
    noise = torch.rand(0 if options.data else options.images, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = flexure.load(options.data, limit=options.images) if options.data else noise
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    found = flexure.elasticity(
        network, images, sketch=options.sketch, memory_limit=options.memory, folder=options.folder
    )
    seconds = time.process_time() - began
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    about = found.provenance["diagnostics"]
    print(f"ResNet-18, one output, {options.images:,} images, k = {options.sketch:,}, one thread")
    print(f"CPU time {seconds:.0f} s; peak memory {after / 2**20:.2f} GB, of which {before / 2**20:.2f} GB before")
    print(
        f"off by {about['sketch_error']:.4f} of the norm, standard errors {about['sketch_expected']:.4f}, at most "
        f"{about['sketch_worst']:.1f} of them in a pair of {about['sketch_images']:.0f} images"
    )
    columns = ["kernel_self", "kernel_self_se", "cosine_mean", "cosine_mean_se", "same_class", "ratio", "ratio_se", "n"]
    print(found.to_frame()[columns].tail(1).to_string(index=False))


if __name__ == "__main__":
    main()
