/* onsight: asks pictures and videos questions, on this machine and nowhere else. docs/c.md says how to build with it.
 *
 *   onsight_error error;
 *   onsight_model* model;
 *   onsight_reply* reply;
 *   onsight_chat* chat = onsight_chat_new();
 *   if (onsight_model_load(NULL, NULL, &model, &error) != ONSIGHT_OK) return fail(&error);
 *   if (onsight_chat_image_file(chat, "receipt.jpg", &error) != ONSIGHT_OK) return fail(&error);
 *   if (onsight_chat_text(chat, "What is the total?", &error) != ONSIGHT_OK) return fail(&error);
 *   if (onsight_ask(model, chat, NULL, NULL, NULL, &reply, &error) != ONSIGHT_OK) return fail(&error);
 *   puts(reply->text);
 *
 * Errors: what can fail returns 0 or a code of onsight_code, and then fills the caller's onsight_error. That is a
 * struct of the caller and no state of a thread, so that languages whose calls wander between threads can use it, and
 * lack of memory can be told. Where it is not asked for, pass NULL. A call that failed changed nothing. NULL and
 * numbers out of range are errors like others; no call ends the program, raises a signal or lets an exception out.
 *
 * Texts are UTF-8 that ends with a zero byte. Paths are bytes, as the system has them. What is passed in is copied
 * before the call returns; what comes out says who owns it.
 *
 * Threads: a model may be used by any number of threads at the same time; answers that are asked for together are
 * written together, and each is what it would be alone. A chat is one thread's at a time, but for onsight_chat_cancel.
 * The library handles no signals, writes to no descriptor that is not its own, and connects to nothing. A model does
 * not survive a fork: load it in each process.
 *
 * Structs of options begin with their own size, which tells the library how much of them the caller knows; zeroed but
 * for that they are the defaults: onsight_ask_options options = {.size = sizeof options}. */
#ifndef ONSIGHT_H
#define ONSIGHT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __GNUC__
#define ONSIGHT_API __attribute__((visibility("default")))
#else
#define ONSIGHT_API
#endif

/* The exit codes of the program `onsight`. */
enum onsight_code {
  ONSIGHT_OK = 0,
  ONSIGHT_BUSY = 1,        /* too many answers are waited for, or the cache's folder cannot be used: later it may go */
  ONSIGHT_WRONG_USAGE = 2, /* an argument that makes no sense */
  ONSIGHT_BAD_INPUT = 3,   /* a picture, a video or a model that cannot be used */
  ONSIGHT_OUT_OF_MEMORY = 4, /* more is needed than is free */
  ONSIGHT_INTERRUPTED = 130  /* cancelled before there was an answer: while the frames of a video were decoded */
};

typedef struct onsight_error {
  int code;           /* an onsight_code */
  char message[1020]; /* one sentence without a full stop: what, where, and what was expected */
} onsight_error;

/* "0.1.0", of the library that runs; static. */
ONSIGHT_API const char* onsight_version(void);

/* ---- Models ---- */

typedef struct onsight_model onsight_model;

/* What weights are in memory. */
enum onsight_quant {
  ONSIGHT_QUANT_DEFAULT = 0, /* of the text model: AUTO; of the vision tower: as the text model, but Q8 for Q4 */
  ONSIGHT_QUANT_AUTO = 1,    /* Q8 from 100 million parameters on, otherwise NONE */
  ONSIGHT_QUANT_NONE = 2,    /* as they come, or as converted */
  ONSIGHT_QUANT_Q8 = 3,      /* 8 bits */
  ONSIGHT_QUANT_Q4 = 4       /* 4 bits */
};

/* What keys and values are in memory. */
enum onsight_kv {
  ONSIGHT_KV_AUTO = 0, /* F16 beside weights of Q8 and Q4, else F32 */
  ONSIGHT_KV_F32 = 1,
  ONSIGHT_KV_F16 = 2,
  ONSIGHT_KV_Q8 = 3 /* 8 bits: about half of F16, a little less exact */
};

typedef struct onsight_load_options {
  size_t size;              /* sizeof(onsight_load_options) */
  const char* cache;        /* a folder that keeps what was seen of pictures for later runs; NULL: nothing is kept */
  uint64_t cache_megabytes; /* what it may hold, up to 1000000; 0: 1024 */
  int threads;              /* to compute with, up to 1024; 0: one for each core that the process may use */
  int quant, vision_quant;  /* of onsight_quant */
  int kv;                   /* of onsight_kv */
} onsight_load_options;

/* Brings a model into memory. `path`: a checkpoint folder in Hugging Face's layout, a file that `onsight convert`
 * wrote, a GGUF file with its mmproj beside it, "TEXT.gguf,MMPROJ.gguf", the name of an installed model, or OWNER/NAME
 * of one that was pulled; NULL: the model that comes with onsight. `options` may be NULL. The caller owns *model, which
 * is NULL on failure. */
ONSIGHT_API int onsight_model_load(const char* path, const onsight_load_options* options, onsight_model** model,
                                   onsight_error* error);

/* Answers that other threads still wait for end as cancelled ones; none may begin any more. NULL is allowed. */
ONSIGHT_API void onsight_model_free(onsight_model* model);

typedef struct onsight_info {
  const char *name, *architecture;       /* "onsight-nano", "SmolVLMForConditionalGeneration" */
  const char *text_quant, *vision_quant; /* "q8" or "q4" where loading changed the weights, otherwise "" */
  int64_t parameters;
  int64_t memory_bytes;           /* of weights, a full context, and the work on one picture */
  int tile_size, tokens_per_tile; /* pixels of a side; tokens that the decoder reads for each tile */
  int context_length;             /* tokens of prompt and answer */
} onsight_info;

/* What is in memory; lives as long as the model. NULL for NULL. */
ONSIGHT_API const onsight_info* onsight_model_info(const onsight_model* model);

/* ---- Conversations: messages, each of texts, pictures and videos in order ---- */

typedef struct onsight_chat onsight_chat;

enum onsight_role { ONSIGHT_SYSTEM = 0, ONSIGHT_USER = 1, ONSIGHT_ASSISTANT = 2 };

/* An empty one, owned by the caller; NULL if there is no memory. */
ONSIGHT_API onsight_chat* onsight_chat_new(void);
/* Not while it is being asked about. NULL is allowed. */
ONSIGHT_API void onsight_chat_free(onsight_chat* chat);

/* Begins the next message. The first may be left out: it is the user's then. What was answered becomes a message of
 * ONSIGHT_ASSISTANT with the reply's text. A conversation shows pictures or videos, not both. */
ONSIGHT_API int onsight_chat_message(onsight_chat* chat, int role, onsight_error* error);

/* Each adds a part to the last message. */
ONSIGHT_API int onsight_chat_text(onsight_chat* chat, const char* text, onsight_error* error);
/* JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF; turned as its EXIF orientation says. */
ONSIGHT_API int onsight_chat_image_file(onsight_chat* chat, const char* path, onsight_error* error);
/* The bytes of such a file. */
ONSIGHT_API int onsight_chat_image_bytes(onsight_chat* chat, const void* bytes, size_t size, onsight_error* error);
/* Pixels [height, width, channels] of 8 bits: channels are 1 (grey), 3 (RGB) or 4 (RGB and one that is ignored).
 * `stride`: bytes from a row to the next, negative where `pixels`, the first row, is the last in memory; 0: none lie
 * between rows. */
ONSIGHT_API int onsight_chat_image_pixels(onsight_chat* chat, const uint8_t* pixels, int width, int height,
                                          int channels, ptrdiff_t stride, onsight_error* error);

typedef struct onsight_clip_options {
  size_t size;       /* sizeof(onsight_clip_options) */
  double fps;        /* frames of each second that are looked at, up to 1000; 0: the model's number */
  double start, end; /* seconds between which the video is looked at; an end of 0: the video's */
  int max_frames;    /* at most so many, evenly, up to 100000; 0: the model's number */
} onsight_clip_options;

/* Whatever FFmpeg's libraries decode, where they are installed. Its frames are decoded by the first onsight_ask; until
 * then the file stays. `options` may be NULL. */
ONSIGHT_API int onsight_chat_video_file(onsight_chat* chat, const char* path, const onsight_clip_options* options,
                                        onsight_error* error);

/* With 1, ends the answer that is being written, and those that are asked for later, until it is called with 0. From
 * any thread and from a signal handler, while the chat lives. */
ONSIGHT_API void onsight_chat_cancel(onsight_chat* chat, int cancel);

/* ---- Answers ---- */

typedef struct onsight_ask_options {
  size_t size;              /* sizeof(onsight_ask_options) */
  uint64_t seed;            /* the same seed gives the same answer */
  const char* const* stops; /* texts before which the answer ends, and NULL behind the last; NULL: none */
  const char* json_schema; /* the answer is JSON that this schema allows, and then there are no stops; NULL: any text */
  int max_tokens;          /* the answer ends after so many, up to 1000000; 0: 1024 */
  float temperature;       /* up to 10; 0 takes the most probable token */
  int top_k;               /* choose among so many, up to 1000000; 0: all */
  float top_p;             /* among the most probable that together reach this, up to 1; 0: all */
  float min_p;             /* among those at least so many times as probable as the first, up to 1 */
  float repetition_penalty; /* as transformers', up to 10; 0: none */
  int max_tiles;            /* read a picture in so many tiles, up to 10000; 0: as many as the model makes */
  int no_upscale;           /* 1: a small picture is not enlarged beyond what tiling needs */
  int no_draft;             /* 1: one token at a time, and no guesses from what was said; the same answer */
} onsight_ask_options;

enum onsight_finish {
  ONSIGHT_STOP = 0,     /* the model's end, or a stop */
  ONSIGHT_LENGTH = 1,   /* max_tokens, or the context is full */
  ONSIGHT_CANCELLED = 2 /* onsight_chat_cancel, the callback, or onsight_model_free */
};

/* Later versions append to it; the library alone makes one. */
typedef struct onsight_reply {
  const char* text; /* all that was written */
  size_t length;    /* of the text in bytes, the zero byte not counted */
  int finish;       /* of onsight_finish */
  int prompt_tokens, completion_tokens;
  int cached_tokens; /* of prompt_tokens: not computed again, because an earlier prompt began with them */
  double preprocess_ms, vision_ms, prefill_ms, decode_ms; /* wall time of each stage */
  double first_token_ms;                                  /* from the question to the first token */
  int64_t peak_memory_bytes;           /* the most that the process had held by then, whoever held it */
  int drafted_tokens, accepted_tokens; /* guessed and checked several at once; of these, in the answer */
  int cached_tiles;                    /* of the pictures: an earlier run had read them and kept them in the cache */
} onsight_reply;

/* Gets the answer piece by piece, whole UTF-8 characters each, valid during the call and ended by a zero byte beyond
 * `length`. Runs on the thread that asks, and may take its time and call the library. Non-zero ends the answer. */
typedef int (*onsight_on_text)(void* user, const char* text, size_t length);

/* Answers the last message of the chat, which is the user's, and returns when the answer has ended, also by being
 * cancelled. `options`, `on_text` and `reply` may be NULL. The caller owns *reply, which is NULL on failure. */
ONSIGHT_API int onsight_ask(onsight_model* model, const onsight_chat* chat, const onsight_ask_options* options,
                            onsight_on_text on_text, void* user, onsight_reply** reply, onsight_error* error);

/* NULL is allowed. */
ONSIGHT_API void onsight_reply_free(onsight_reply* reply);

#ifdef __cplusplus
}
#endif
#endif
