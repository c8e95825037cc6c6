#!/usr/bin/env bash
# The API server accepts a request and never answers: only a timeout detects that.
. "$(dirname "$0")/lib.sh"
start -initial-delay 200ms -attempt-timeout 1s

server "fail?verb=create&code=hang"
echo "the next create gets no answer"
echo "the caller's answer: $(ask POST databases -d "$(database orders)")"
echo "class of the failed attempt: $(grep k8s_api_call_failed_retrying "$log" | jq -r .class)"
echo "attempts: $(grep k8s_api_call_succeeded_after_retry "$log" | jq .attempt)"
