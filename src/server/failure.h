// Failure: why a request has no answer, before a dialect gives it its shape.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "base/result.h"

namespace onsight::server {

struct Failure {
  int status = 400;
  std::string message;
  std::string code = {};   // in the dialect's own words, where it has some: "model_not_found"
  std::string field = {};  // of the request, where one is to blame: "messages[0].role"
  int retry_after_s = 0;   // 0: nothing is said
  std::string allow = {};  // methods, of 405

  Failure() = default;
  Failure(int the_status, std::string the_message, std::string the_code = {}, std::string the_field = {})
      : status(the_status), message(std::move(the_message)), code(std::move(the_code)), field(std::move(the_field)) {}
  // Implicit, so that TRY can be used where a Failure is returned.
  Failure(const Error& error)  // NOLINT(google-explicit-constructor)
      : status(status_of(error.code)),
        message(error.message),
        code(error.reason),
        field(error.field),
        retry_after_s(error.code == ErrorCode::kBusy ? 1 : 0) {}

  static int status_of(ErrorCode code) {
    switch (code) {
      case ErrorCode::kUsage:
      case ErrorCode::kBadInput:
        return 400;
      case ErrorCode::kBusy:
        return 429;
      case ErrorCode::kOutOfMemory:
      case ErrorCode::kInterrupted:
        return 503;
      case ErrorCode::kIo:
        return 500;
    }
    return 500;
  }
};

using Outcome = tl::expected<void, Failure>;

inline tl::unexpected<Failure> fails(int status, std::string message, std::string code = {}) {
  return tl::unexpected<Failure>(Failure(status, std::move(message), std::move(code)));
}

}  // namespace onsight::server
