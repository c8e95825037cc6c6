#!/usr/bin/env bash
# Some failures, and what the log says about them.
. "$(dirname "$0")/lib.sh"
start -initial-delay 200ms

server "fail?verb=create&code=429"
ask POST databases -d "$(database orders)" >/dev/null # succeeds at attempt 2
server "fail?verb=get&code=503&times=2"
ask GET databases/orders >/dev/null # succeeds at attempt 3
ask GET databases/nothing >/dev/null # does not exist
server "fail?verb=get&code=500&times=4"
ask GET databases/orders >/dev/null # fails
server "fail?verb=delete&code=504"
ask DELETE databases/orders >/dev/null # succeeds at attempt 2

cd "$dir"
show() {
	echo "> $1"
	eval "$1"
}
show 'grep k8s_api_call_failed_retrying app.log | wc -l'
show 'grep k8s_api_call_succeeded_after_retry app.log | wc -l'
show 'grep k8s_api_call_failed_max_retries app.log | wc -l'
show 'grep k8s_api_call_failed_non_retryable app.log | wc -l'
show 'grep k8s_api_call_failed_retrying app.log | jq .status_code | sort | uniq -c | sort -rn'
show 'grep k8s_api_call_failed_retrying app.log | jq -r .function | sort | uniq -c | sort -rn'
show 'grep k8s_api_call_failed_max_retries app.log | jq -c "{function, attempt, status_code}"'
