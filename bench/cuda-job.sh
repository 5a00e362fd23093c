#!/usr/bin/env bash
# All that is to be known of a GPU, the cheapest first: on a machine that has one, in the root of a clone that was set up
# for CUDA (docs/devices.md), `OUT` naming a folder for the logs. PEER_PYTHON: a Python with transformers and PEFT, for the peers.
# LOPT_BENCH_QUICK=1 shows on any machine that it works, and no figure.
set -u
OUT=${OUT:-$(mktemp -d)}
mkdir -p "$OUT" || exit 1
failed=0

# NAME SECONDS COMMAND...: its log into $OUT, and the end of it here
run() {
  local name=$1 seconds=$2
  shift 2
  timeout "$seconds" "$@" >"$OUT/$name.log" 2>&1
  local code=$?
  echo "=== $name: exit $code after ${SECONDS} s in all"
  tail -n 25 "$OUT/$name.log"
  [ $code -eq 0 ] || failed=1
}

run doctor 60 node dist/cli.js doctor
# One after the other: each is then known by what it takes of the device alone.
run cuda-tests 400 node node_modules/vitest/vitest.mjs run test/cuda.test.ts --reporter=dot
run graph-tests 400 node node_modules/vitest/vitest.mjs run test/torch/graph.test.ts test/torch/process.test.ts \
  test/train/graphs.test.ts test/train/run-ahead.test.ts test/train/captured-targets.test.ts \
  test/inference/graphs.test.ts test/inference/step-graphs.test.ts \
  test/inference/pass-scores.test.ts test/inference/spare-decodings.test.ts \
  test/device-blind/captured.test.ts --reporter=dot
run cuda-decode 900 node bench/run.mjs cuda-decode
run cuda-step 900 node bench/run.mjs cuda-step
echo "logs: $OUT"
exit $failed
