#!/usr/bin/env bash
# The API server goes away and comes back: who waits is served, who waits too long is told.
. "$(dirname "$0")/lib.sh"
start

server down
echo "blocked: every connection is refused"
ask POST databases -d "$(database orders)" >"$dir/code" &
caller=$!
until_true grep -q k8s_api_call_failed_retrying "$log"
echo "a caller creates a database; the first attempt has failed"
server up
echo "back"
wait $caller
echo "the caller's answer: $(cat "$dir/code")"
echo "why the attempt failed: $(grep k8s_api_call_failed_retrying "$log" | jq -r .class | sort -u)"
echo "succeeded after a retry: $(events k8s_api_call_succeeded_after_retry)"

server down
echo "blocked again, for longer than a read is tried"
echo "a reader's answer: $(ask GET databases/orders -D "$dir/headers"), $(jq -r .error "$dir/body"), $(grep -i '^retry-after' "$dir/headers" | tr -d '\r')"
echo "gave up after attempt: $(grep k8s_api_call_failed_max_retries "$log" | jq .attempt)"
