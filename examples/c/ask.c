/* Asks about a picture, and prints the answer as it comes; Ctrl-C ends it.
 *
 *   cc -std=c99 ask.c $(pkg-config --cflags --libs onsight) -o ask
 *   ./ask receipt.jpg "What is the total?" [MODEL] */
#include <onsight.h>
#include <signal.h>
#include <stdio.h>

static onsight_chat* chat;

static void on_interrupt(int number) {
  (void)number;
  onsight_chat_cancel(chat, 1);
}

static int print_piece(void* user, const char* text, size_t length) {
  (void)user;
  /* Non-zero, where nobody reads any more, ends the answer. */
  return fwrite(text, 1, length, stdout) != length || fflush(stdout) != 0;
}

static int ask(onsight_model* model, const char* picture, const char* question, onsight_error* error) {
  onsight_ask_options options = {.size = sizeof options, .max_tokens = 256};
  onsight_reply* reply;
  int failed;

  if ((failed = onsight_chat_image_file(chat, picture, error)) != 0) return failed;
  if ((failed = onsight_chat_text(chat, question, error)) != 0) return failed;
  if ((failed = onsight_ask(model, chat, &options, print_piece, NULL, &reply, error)) != 0) return failed;
  printf("\n");
  fprintf(stderr, "%d tokens, the first after %.0f ms\n", reply->completion_tokens, reply->first_token_ms);
  onsight_reply_free(reply);
  return ONSIGHT_OK;
}

int main(int argc, char** argv) {
  onsight_model* model = NULL;
  onsight_error error = {0};
  int failed;

  if (argc < 3 || argc > 4) {
    fprintf(stderr, "usage: %s PICTURE QUESTION [MODEL]\n", argv[0]);
    return ONSIGHT_WRONG_USAGE;
  }
  chat = onsight_chat_new();
  signal(SIGINT, on_interrupt);
  failed = onsight_model_load(argc > 3 ? argv[3] : NULL, NULL, &model, &error);
  if (!failed) failed = ask(model, argv[1], argv[2], &error);
  if (failed) fprintf(stderr, "%s\n", error.message);
  onsight_model_free(model);
  onsight_chat_free(chat);
  return failed;
}
