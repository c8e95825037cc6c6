#!/usr/bin/env bash
# The API server is unavailable and recovers: a call that can wait succeeds, the other one fails in time.
. "$(dirname "$0")/lib.sh"
start

server down
echo "the server is down: every connection is refused"
ask POST databases -d "$(database orders)" >"$dir/code" &
caller=$!
until_true grep -q k8s_api_call_failed_retrying "$log"
echo "a caller creates a database; the first attempt failed"
server up
echo "the server is up"
wait $caller
echo "the caller's answer: $(cat "$dir/code")"
echo "class of the failed attempt: $(grep k8s_api_call_failed_retrying "$log" | jq -r .class | sort -u)"
echo "calls that succeeded after a retry: $(events k8s_api_call_succeeded_after_retry)"

server down
echo "the server is down again, for longer than a read is retried"
echo "a reader's answer: $(ask GET databases/orders -D "$dir/headers"), $(jq -r .error "$dir/body"), $(grep -i '^retry-after' "$dir/headers" | tr -d '\r')"
echo "gave up after attempt: $(grep k8s_api_call_failed_max_retries "$log" | jq .attempt)"
