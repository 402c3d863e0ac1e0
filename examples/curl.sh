#!/bin/sh
# Saves a turn and reads it back over the HTTP API, with nothing but curl.
#
#   MNEMOQ_URL=http://127.0.0.1:3000 MNEMOQ_KEY=… sh curl.sh
#
# prints, the first time it runs in a conversation and while `mnemoq api` and a chat worker run:
#
#   200
#   {"context_id":"curl","format":"messages","token_count":9,"items":[{"role":"user","content":"I like oolong."},{"role":"assistant","content":"Noted."}],"next_cursor":null,"complete":true}
set -eu
url=${MNEMOQ_URL:-http://127.0.0.1:3000}
conversation=${1:-curl}

# With Prefer: wait it answers 200 when the turn can be read, and not 202 when it is queued. The key makes it safe to repeat.
curl --silent --show-error --fail --output /dev/null --write-out '%{http_code}\n' \
  --header "Authorization: Bearer ${MNEMOQ_KEY:-}" --header 'Content-Type: application/json' \
  --header 'Prefer: wait=20' --header 'Idempotency-Key: first' \
  --data "{\"context_id\":\"$conversation\",\"user_id\":\"ada\",\"user_message\":\"I like oolong.\",\"assistant_message\":\"Noted.\"}" \
  "$url/memory/chat"

curl --silent --show-error --fail --header "Authorization: Bearer ${MNEMOQ_KEY:-}" \
  "$url/memory/context/$conversation/recent?max_tokens=1000&format=messages"
echo
