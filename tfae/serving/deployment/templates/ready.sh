#!/bin/bash
# Ready means: each signature of the model answers a request that it is known to answer. AVAILABLE, which the server says
# of a model that it has loaded, proves nothing: a model without its variables is AVAILABLE too, and fails every request.
#
#     ready.sh [REST_PORT [SECONDS]]
#
# In bash alone, with its /dev/tcp: TensorFlow Serving's image holds neither curl nor wget nor Python.

port="${1:-8501}"
seconds="${2:-5}"

for body in "$(dirname "$0")"/*.json; do
    exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
    {
        printf 'POST {{ probe_path }} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
        printf 'Content-Length: %d\r\nConnection: close\r\n\r\n' "$(wc -c <"$body")"
        cat "$body"
    } >&3
    # Whether or not the server closes the connection: no more is read than has to be.
    IFS= read -r -t "$seconds" status <&3
    if [[ "$status" != "HTTP/1."?" 200 "* ]]; then
        echo "not ready: $(basename "$body") got ${status:-no answer}" "$(timeout 1 head -c 500 <&3)" >&2
        exit 1
    fi
    if ! timeout "$seconds" grep -q '"predictions"' <&3; then
        echo "not ready: $(basename "$body") got no predictions" >&2
        exit 1
    fi
    exec 3>&-
done
