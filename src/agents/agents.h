// The room as others see it: what the command line needs beside a Fleet.
//
//   #include "agents/agents.h"
//   TRY(auto fleet, onsight::agents::Fleet::open("."));
#pragma once

#include "agents/broker_process.h"                // IWYU pragma: export
#include "agents/bus/mail.h"                      // IWYU pragma: export
#include "agents/fleet.h"                         // IWYU pragma: export
#include "agents/harness/harness.h"               // IWYU pragma: export
#include "agents/image/image.h"                   // IWYU pragma: export
#include "agents/orchestrator/orchestrator.h"     // IWYU pragma: export
#include "agents/page/page.h"                     // IWYU pragma: export
#include "agents/runtime/kubernetes/manifests.h"  // IWYU pragma: export
#include "agents/runtime/seccomp_profile.h"       // IWYU pragma: export
#include "agents/supervisor/launch.h"             // IWYU pragma: export
#include "agents/supervisor/supervisor.h"         // IWYU pragma: export
#include "agents/supervisor/terminals.h"          // IWYU pragma: export
#include "agents/vault/vault.h"                   // IWYU pragma: export
