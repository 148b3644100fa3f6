// Repository: a model on the hub, as users name it, and what the environment says of the hub.
//
//   TRY(Repository repository, Repository::parse("HuggingFaceTB/SmolVLM2-256M-Video-Instruct@main"));
#pragma once

#include <string>
#include <string_view>

#include "base/file.h"
#include "base/result.h"

namespace onsight::hub {

struct Repository {
  std::string owner, name, revision = "main";  // a branch, a tag, or a commit
  std::string id() const { return owner + "/" + name; }

  // OWNER/NAME or OWNER/NAME@REVISION; nothing in it leads out of a folder.
  static Result<Repository> parse(std::string_view text);
};

// 40 hexadecimal digits.
bool is_commit(std::string_view text);

// HF_HUB_CACHE or its older name HUGGINGFACE_HUB_CACHE, or $HF_HOME/hub; HF_HOME is ~/.cache/huggingface where it is
// not set. All that looking for what is here takes of the environment.
Result<Path> cache_folder();

// The variables of huggingface_hub, so that both use one cache and one token.
struct Settings {
  std::string endpoint;  // HF_ENDPOINT, without a slash at its end
  std::string token;     // HF_TOKEN, or of the file that HF_TOKEN_PATH names, $HF_HOME/token; may be empty
  Path cache;            // cache_folder()
  bool offline = false;  // HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE
  static Result<Settings> from_environment();
};

}  // namespace onsight::hub
