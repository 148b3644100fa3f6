#include "agents/runtime/dialect.h"

namespace onsight::agents::runtime {

// Seen with 20.10.24. It takes a seccomp profile only inline, and finds out at start that one is rubbish. Its json-file
// log can be read again, which is what an attachment with replay does.
const Dialect kDocker{.name = "docker", .log_driver = "json-file"};

}  // namespace onsight::agents::runtime
