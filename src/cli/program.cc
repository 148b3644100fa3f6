#include "cli/program.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <new>
#include <system_error>

#include "cli/agents/agents.h"
#include "cli/interrupt.h"

namespace onsight::cli {
namespace {

// What a file or a path says of itself may be endless; a sentence is not.
constexpr size_t kLongestSentence = 500;

constexpr std::array kVerbs = {
    VerbRow{"ask", "[--model MODEL] [--image FILE]... [PROMPT]", "answer a question about pictures",
            R"(Without PROMPT it is "Describe this image.". A PROMPT of - is read from standard input, a
FILE of - too. "{image}" in PROMPT says where a picture goes; otherwise pictures come first. A
PROMPT that says nothing else is none. One that begins with - goes after --.

The answer goes to standard output as it is made, and nothing else does. Ctrl-C stops it; what
was printed stays. A reader that closes early, as `| head` does, ends the program quietly.

With --json-schema the answer is one value of JSON that the schema allows, on one line, whatever the
model would rather say. A schema that is not supported, or needs more than --max-tokens, is refused
before anything is computed.

Examples:
  onsight ask --image receipt.jpg "What is the total?"
  onsight ask --image before.png --image after.png "What changed?"
  grim - | onsight ask --image - --stats "Read the text."
  onsight ask --model ~/SmolVLM-256M-Instruct --image photo.heic --json
  onsight ask --image receipt.jpg --json-schema receipt.schema.json "Read the text."
  onsight ask --model SmolVLM-500M-Instruct-Q8_0.gguf --image photo.jpg)",
            make_ask},
    VerbRow{"chat", "[--model MODEL] [--image FILE]... [--video FILE]...",
            "talk about pictures or videos in the terminal",
            R"(In the conversation:
  /image FILE   show a picture with the next message
  /video FILE   show a video with the next message; --fps and the like say what of it
  /reset        forget the conversation
  /save FILE    keep the conversation in a file (pictures and videos by their path)
  /load FILE    go on with a conversation that was kept
  /help         list these commands
  /exit         leave; so does Ctrl-D

Ctrl-C stops an answer, and clears the line at the prompt. Lines are edited as in a shell; they are
remembered in $XDG_STATE_HOME/onsight/history (~/.local/state/onsight/history), readable by you
alone. A message that begins with / is written with a space before it. When standard input is not
a terminal, each line of it is a message or a command.)",
            make_chat},
    VerbRow{"read", "[--model MODEL] [--out FILE.jsonl] FILE|FOLDER...", "read the text of many pictures and PDFs",
            R"(Prints the text of each page, in order, with a line "== FILE" before it where there are several;
or, with --json or --out, a JSON object a line: file, page (of a PDF, and of a TIFF of several),
text, lines, and what it took. Of folders it takes everything below that looks like a picture or a
PDF; links to folders are left out. PDFs are drawn by pdftoppm (Debian: poppler-utils).

With --out FILE.jsonl each page is in the file as soon as it is read. When the program is started
again it goes on: pages that are in the file are left out, unless they have changed, or the model,
the prompt or an option that changes answers is another; of several rows about the same page, model
and prompt the last counts. A page that cannot be read is one sentence on standard error; the
others are read, and the exit code is 3.

Examples:
  onsight read letter.jpg
  onsight read --out scans.jsonl ~/scans
  onsight read --json report.pdf --json-schema invoice.schema.json --prompt "Read the invoice.")",
            make_read},
    VerbRow{"describe", "[--model MODEL] --out FILE.jsonl FILE|FOLDER...",
            "describe all pictures of a folder, for alt texts",
            R"(As read, with the prompt "Describe this image." and a caption instead of text and lines. It takes
pictures and no documents: of a TIFF of several pages, the first.

Example:
  onsight describe ~/photos --out captions.jsonl)",
            make_describe},
    VerbRow{"watch", "[--model MODEL] SOURCE [--ask TEXT] [--every TIME]",
            "ask the same of a camera, a stream, a video or a folder, again and again",
            R"(Prints a line a look: time, answer, confidence (the mean probability of the answer's tokens) and how
long it took. The time is that of the video, or of the day. A picture that shows nothing new is not
read again: the answer stays. Of a folder each picture is asked about once, in the order in which
they were written.

A stream that is lost is tried again until Ctrl-C, which ends the program with 0; one that cannot
be reached at the start, and a file that cannot be read, are exit code 3. What a stream shows while
an answer is made is left out.

Examples:
  onsight watch rtsp://camera/stream --ask "Is the gate open? Answer yes or no." --on-change
  onsight watch /dev/video0 --every 500ms --ask "How many objects are there?" --json
  onsight watch inbox/ --json-schema invoice.schema.json --ask "Read the invoice."
  onsight watch gate.mp4 --ask "Is the gate open?" --exec 'notify-send "$ONSIGHT_ANSWER"')",
            make_watch},
    VerbRow{"serve", "[--model MODEL] [--host ADDRESS] [--port N]", "answer programs over HTTP, many at once",
            R"(Programs talk to it as they do to OpenAI's service (http://127.0.0.1:8080/v1 is the base URL) or to
Ollama; docs/server.md has what is supported. When it is ready, one line on standard error says
where it is. It binds to this machine alone unless --host says otherwise, and then wants --api-key.

Ctrl-C and SIGTERM let answers that are being written end, up to --drain-seconds, and exit with 0;
the second one cuts them short. Exit code 1: the address cannot be listened on.

Examples:
  onsight serve
  onsight serve --model SmolVLM-500M-Instruct-Q8_0.gguf --port 0
  ONSIGHT_API_KEY=secret onsight serve --host 0.0.0.0 --max-active 16)",
            make_serve},
    VerbRow{"pull", "OWNER/NAME[@REVISION]", "fetch a model from the Hugging Face hub",
            R"(Fetches the settings, the tokenizer and the weights (safetensors, and nothing that could run) of a
model into the cache that the hub's own tools use, and prints its folder. From then on OWNER/NAME is
its name for every verb. Files come several at once; what an interrupted pull left is gone on with,
and each file is compared with its checksum before it counts. A model that onsight cannot run is
refused before its weights come.

HF_TOKEN is the token for models that are not for everybody, HF_HOME and HF_HUB_CACHE say where the
cache is, HF_ENDPOINT which hub is asked. With HF_HUB_OFFLINE=1 nothing is asked.

Examples:
  onsight pull HuggingFaceTB/SmolVLM2-500M-Video-Instruct
  onsight ask --model HuggingFaceTB/SmolVLM2-500M-Video-Instruct --image photo.jpg)",
            make_pull},
    VerbRow{"list", "[--json]", "list the models that are here",
            R"(The models that come with onsight or stand under $ONSIGHT_MODELS, and those of the hub's cache that
it can run, whoever fetched them.)",
            make_list},
    VerbRow{"rm", "OWNER/NAME[@REVISION]", "remove a model that was pulled",
            R"(Removes the revision from the hub's cache, and the files that no other revision needs.)", make_remove},
    VerbRow{"convert", "SRC DST [--quant FORMAT] [--vision-quant FORMAT]",
            "pack a model into one file that loads at once",
            R"(DST is one file with everything in it: the weights as the kernels read them, the tokenizer and the
settings. It is mapped and not read when it is used, so that it is ready at once and programs that
use it at the same time share its memory. It is a safetensors file, and the same for every
processor. All of it appears at the end, or nothing; then it is read and compared with its
checksums.

`ask` and the other verbs bring the weights of a folder into the same formats each time they load
it; the answers are the same.

Examples:
  onsight convert ~/SmolVLM-256M-Instruct model.onsight --quant q8
  onsight ask --model model.onsight --image photo.jpg)",
            make_convert},
    VerbRow{"export", "SRC DIR --to KIND", "write a model as a folder that other programs read",
            R"(DIR gets the weights and settings of one kind of file, and a README.md that says what they are and
how to use them. All of it appears at the end, or nothing. No number is rounded further than the
kind asks for; a file of --quant q8 or q4 is refused, as its numbers are rounded already.

Examples:
  onsight export model.onsight SmolVLM-256M --to safetensors
  onsight export ~/SmolVLM-256M-Instruct SmolVLM-256M-GGUF --to gguf --dtype q8_0
  onsight export ~/SmolVLM-256M-Instruct SmolVLM-256M-4bit --to mlx --bits 4)",
            make_export},
    VerbRow{"trace", "--out DIR [--compare OTHER_DIR] [--model MODEL] [--image FILE]... [PROMPT]",
            "write the numbers of one forward pass, or compare two such folders",
            R"(Writes NumPy files: input_ids.npy [n], pixel_values.npy [tiles, 3, T, T] (normalised f32),
image_features.npy [tiles x N, d_text], logits.npy [n, vocabulary], and the activations after each
layer: vision.layers.0.npy, ..., text.layers.0.npy, .... All files appear at the end, or none;
those of an earlier trace in DIR are replaced. n counts the tokens of the prompt and, with --answer,
those of the answer after it; each row of logits.npy is the choice of the token that comes next.

With --compare and neither PROMPT nor --image, DIR is not written but compared as it is. The table
follows the forward pass; the relative error is |a - b| / |b| with b from OTHER_DIR. Exit code 0:
all tensors of OTHER_DIR are in DIR and agree; 3: the first that differs is named. Integers are
compared by value, whatever their width. Tensors that only DIR has are ignored.

Examples:
  onsight trace --out ours --image photo.jpg "What is this?"
  onsight trace --out ours --compare theirs --tolerance 1e-4)",
            make_trace},
    VerbRow{"tokenize", "[--model MODEL] [--decode] [--special]", "turn text into token ids, or back",
            R"(Reads one JSON string a line from standard input and writes one JSON array of token ids a line; with
--decode, the other way. Special tokens typed as text stay text, unless --special.

Example:
  echo '"Hello <image>"' | onsight tokenize)",
            make_tokenize},
    VerbRow{"inspect", "[MODEL] [--json]", "say what a model holds and whether it can run",
            R"(Without MODEL it is the one that comes with onsight.

Example:
  onsight inspect ~/SmolVLM-256M-Instruct)",
            make_inspect},
    VerbRow{"bench", "[--model DIR|NAME] [--image FILE]... [--sweep tiles|tokens|threads]",
            "measure what an answer costs, beside what the machine can do",
            R"(Each run loads the model anew and asks about the picture, so that nothing is found in a cache;
then it asks a second question of the same picture, which finds its features and its prompt there.
The table has the median and the spread of each stage, and how much of the machine's ceilings it
reached: these are measured too, in about a second. Operations and bytes are counted from the
model's shapes.

A sweep of tiles asks about 1 to 17 one-tile pictures, one of tokens about texts of 128 to 8000
tokens, both as far as the model's context goes; one of threads takes the picture and the prompt.

Examples:
  onsight bench --model ~/SmolVLM-256M-Instruct --image photo.jpg
  onsight bench --sweep tiles --json tiles.json --plot tiles.svg)",
            make_bench},
    VerbRow{"agents", "VERB [OPTIONS]", "run coding agents on a repository, each contained",
            R"(Each agent has a container without a network, a clone of the repository, a user and a budget of its
own. What it may reach, and whom it may write to, .onsight/agents.toml says; keys of model providers
it never sees.

Examples:
  onsight agents init
  onsight agents image build --harness claude
  onsight agents start reviewer --harness claude --task "Review the parser"
  onsight agents attach reviewer)",
            nullptr, agent_verbs},
};

Status run_verb(const VerbRow& row, std::span<const std::string> arguments, Context& context) {
  std::unique_ptr<Verb> verb = row.make();
  Options options{std::string(row.name)};
  verb->declare(options);
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (argument == "--help" || argument == "-h") return context.out.write(help_of_verb(row, options));
  }
  TRY_STATUS(options.parse(arguments));
  return verb->run(context);
}

Status run_named(std::span<const VerbRow> rows, std::string_view before, const std::string& name,
                 std::span<const std::string> arguments, Context& context);

// The verb after the first one.
Status run_group(const VerbRow& row, std::span<const std::string> arguments, Context& context) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help")
    return context.out.write(help_of_group(row));
  return run_named(row.group(), row.name, arguments[0], arguments.subspan(1), context);
}

// `before` is what was typed before the name: the rows' names begin with it.
Status run_named(std::span<const VerbRow> rows, std::string_view before, const std::string& name,
                 std::span<const std::string> arguments, Context& context) {
  const std::string whole = before.empty() ? name : fmt::format("{} {}", before, name);
  std::vector<std::string> names;
  for (const VerbRow& row : rows) {
    if (row.name == whole) return row.group ? run_group(row, arguments, context) : run_verb(row, arguments, context);
    names.emplace_back(before.empty() ? row.name : row.name.substr(before.size() + 1));
  }
  const std::string meant = nearest(name, names);
  if (!meant.empty()) return make_error(ErrorCode::kUsage, "unknown verb '{}', did you mean '{}'?", name, meant);
  return make_error(ErrorCode::kUsage, "unknown verb '{}' (onsight {}--help lists the verbs)", name,
                    before.empty() ? "" : std::string(before) + " ");
}

Status run(std::span<const std::string> arguments, Context& context) {
  if (arguments.empty())
    return make_error(ErrorCode::kUsage, "expected a verb, as in `onsight ask` (onsight --help lists them)");
  std::string name = arguments[0];
  arguments = arguments.subspan(1);
  if (name == "--version" || name == "-V" || name == "-v") return context.out.write("onsight " ONSIGHT_VERSION "\n");
  if (name == "--man") return context.out.write(manual_page());
  if (name == "--completions") {
    TRY(const std::string script, completions(arguments.empty() ? "" : arguments[0]));
    return context.out.write(script);
  }
  std::vector<std::string> asked;
  if (name == "help" && !arguments.empty()) {
    name = arguments[0];
    asked.assign(arguments.begin() + 1, arguments.end());
    asked.emplace_back("--help");
    arguments = asked;
  }
  if (name == "--help" || name == "-h" || name == "help") return context.out.write(help_of_program());
  return run_named(kVerbs, "", name, arguments, context);
}

}  // namespace

std::span<const VerbRow> verbs() { return kVerbs; }

std::vector<const VerbRow*> all_verbs() {
  std::vector<const VerbRow*> all;
  for (const VerbRow& row : kVerbs) {
    if (!row.group) {
      all.push_back(&row);
      continue;
    }
    for (const VerbRow& below : row.group()) all.push_back(&below);
  }
  return all;
}

void print_error(std::string_view sentence) {
  Output error(STDERR_FILENO);
  (void)error.write("onsight: " + shortened(printable(sentence), kLongestSentence) + "\n");
}

Status without_throwing(const std::function<Status()>& action) {
  constexpr const char* kMemory = "not enough memory for this model and these inputs (--max-tiles 1 needs the least)";
  try {
    return action();
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "{}", kMemory);
  } catch (const std::system_error& error) {
    // A thread that cannot be started, or a mapping that the system refuses.
    if (error.code() == std::errc::resource_unavailable_try_again || error.code() == std::errc::not_enough_memory)
      return make_error(ErrorCode::kOutOfMemory, "{}", kMemory);
    return bad_input("unexpected error: {}", error.what());
  } catch (const std::exception& error) {
    return bad_input("unexpected error: {}", error.what());
  }
}

int run_program(int argc, char** argv, const Services& services) {
  install_signal_handlers();
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  Output out(STDOUT_FILENO);
  Context context{services, out};
  Status status = without_throwing([&] { return run(arguments, context); });
  if (status || out.reader_gone()) return kExitDone;  // nobody is left to tell
  // After Ctrl-C the user knows why it ended.
  if (status.error().code != ErrorCode::kInterrupted) print_error(status.error().message);
  return exit_code(status.error().code);
}

}  // namespace onsight::cli
