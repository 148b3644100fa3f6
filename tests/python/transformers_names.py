"""What the pipelines of transformers 5 take, in its order. test_transformers.py compares this with the real one."""

#: transformers.pipeline(), with the values that it has without one.
PIPELINE = {
    "task": None,
    "model": None,
    "config": None,
    "tokenizer": None,
    "feature_extractor": None,
    "image_processor": None,
    "video_processor": None,
    "processor": None,
    "revision": None,
    "use_fast": True,
    "token": None,
    "device": None,
    "device_map": None,
    "dtype": "auto",
    "trust_remote_code": None,
    "model_kwargs": None,
    "pipeline_class": None,
}
#: Of its **kwargs, what is not the call's.
LOADING = ("torch_dtype", "code_revision", "local_files_only", "binary_output", "assistant_model", "assistant_tokenizer", "generation_config")

#: A call of "image-text-to-text", beside its images and text.
CALL = (
    "max_new_tokens",
    "generate_kwargs",
    "timeout",
    "return_full_text",
    "return_tensors",
    "return_type",
    "clean_up_tokenization_spaces",
    "stop_sequence",
    "continue_final_message",
    "skip_special_tokens",
    "processor_kwargs",
)
#: What every pipeline's call takes.
EVERY_CALL = ("num_workers", "batch_size")
#: What a call hands to the processor of videos to choose frames with.
FRAMES = ("do_sample_frames", "fps", "num_frames")
