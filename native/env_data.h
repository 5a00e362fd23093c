// State of one Node environment (the main thread or a worker): the error class, the live counts,
// the executor. No JavaScript value in this addon is static, so that environments do not meet.
#pragma once

#include <napi.h>

#include <memory>

#include "executor.h"
#include "ledger.h"

namespace lopt {

struct EnvData {
  Napi::FunctionReference error_class;
  std::shared_ptr<Ledger> ledger = std::make_shared<Ledger>();
  std::unique_ptr<Executor> executor;

  static EnvData& Of(Napi::Env env) { return *env.GetInstanceData<EnvData>(); }
};

}  // namespace lopt
