#!/usr/bin/env bash
# More creates at once than the API server takes: it answers 429, and none is lost or made twice.
. "$(dirname "$0")/lib.sh"
start -initial-delay 200ms

server "limit?verb=create&in-flight=4&each=100ms"
echo "the API server takes 4 creates at a time, 100 ms each; 30 callers create at once"
callers=()
for i in $(seq 30); do
	curl -sS -o /dev/null -w '%{http_code}\n' -H 'Content-Type: application/json' "$service/api/v1/databases" -d "$(database "db-$i")" >"$dir/code-$i" &
	callers+=($!)
done
wait "${callers[@]}"
echo "answers to the callers:"
cat "$dir"/code-* | sort | uniq -c
echo "turned away by the API server: $([ "$(requests verb=create | grep -c ' 429$')" -ge 10 ] && echo "many times")"
echo "databases made: $(requests verb=create | grep -c ' 201$')"
echo "names made twice: $(requests verb=create | grep ' 201$' | sort | uniq -d | wc -l)"
echo "creates of which the log says that their outcome is unknown: $(events k8s_api_call_failed_retrying '.outcome != "not_executed"')"
