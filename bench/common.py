"""What the benchmarks share: which machine it was, and plots that are the same file for the same figures."""
import os


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0))}


def axes(columns=1, size=(6, 3)):
    """(figure, axis or list of axes)"""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "onsight"
    return plt.subplots(1, columns, figsize=size)


def save(figure, target):
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
