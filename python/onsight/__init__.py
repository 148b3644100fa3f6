"""Small vision-language models on this machine: pictures, videos and questions in, text out. No GPU, no connection.

    import onsight

    model = onsight.load()                                    # the model that comes with the package
    print(model.ask("receipt.jpg", "Read the text."))
    for piece in model.ask("receipt.jpg", "Read the text.", stream=True):
        print(piece, end="")

    pipe = onsight.pipeline("image-to-text")                  # as transformers' pipelines
    pipe("receipt.jpg")                                       # [{"generated_text": "..."}]
"""

from importlib.metadata import PackageNotFoundError, version

from onsight.answers import Answer, Stream
from onsight.errors import BusyError, Error, InputError, OutOfMemoryError
from onsight.model import Model, load
from onsight.pipelines import Pipeline, pipeline

try:
    __version__ = version("onsight")
except PackageNotFoundError:
    __version__ = "unknown"

__all__ = ["Answer", "BusyError", "Error", "InputError", "Model", "OutOfMemoryError", "Pipeline", "Stream", "load", "pipeline"]
