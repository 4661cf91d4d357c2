#!/bin/sh
# Prints the container engine to work with: of those named as arguments the first that answers, or $ENGINE.
# Installed is not enough: docker's command may be there without its service.
set -eu

for engine in ${ENGINE:-"$@"}; do
    if command -v "$engine" > /dev/null && "$engine" info > /dev/null 2>&1; then
        echo "$engine"
        exit
    fi
done
echo "No container engine answers (tried: ${ENGINE:-$*}): one must. Install and start one, or name it: ENGINE=podman" >&2
exit 1
