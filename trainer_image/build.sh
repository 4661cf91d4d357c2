#!/bin/sh
# Builds the trainer's image from this checkout; `make image` calls it. Arguments go to the engine's build command.
#
# From the environment, each with a default:
#   ENGINE      docker, podman or buildah (the first of them that answers)
#   BASE_IMAGE  what it is built on, by tag or, to have the same again, by digest: python@sha256:... (as in the Dockerfile)
#   PACKAGES    what training scripts import, with blanks between: "torch scikit-learn" (none)
#   TAG         the image's name (dropsweep-trainer)
set -eu
cd "$(dirname "$0")/.."

engine="$(sh trainer_image/engine.sh docker podman buildah)"
# A build that holds more than the commit says so.
revision="$(git rev-parse HEAD 2> /dev/null || true)"
if [ -n "$revision" ] && [ -n "$(git status --porcelain 2> /dev/null)" ]; then revision="$revision-changed"; fi

# Only what was given: an empty argument would take the place of the Dockerfile's default.
set -- ${BASE_IMAGE:+"--build-arg=BASE_IMAGE=$BASE_IMAGE"} ${PACKAGES:+"--build-arg=PACKAGES=$PACKAGES"} \
    ${revision:+"--build-arg=REVISION=$revision"} "$@"
# podman and buildah keep no layers of a build for the next one unless they are told to; docker always does.
case "$engine" in
    *podman | *buildah) set -- --layers "$@" ;;
esac
"$engine" build --file trainer_image/Dockerfile --tag "${TAG:-dropsweep-trainer}" "$@" . || {
    status=$?
    # What a person meets first: no way to the registry that the base image comes from.
    default="$(sed -n 's/^ARG BASE_IMAGE=//p' trainer_image/Dockerfile)"
    echo "No image was made; $engine says above why. If it cannot have the base image ${BASE_IMAGE:-$default}, name another:" \
        'make image BASE_IMAGE=... (docs/architecture.md, "The trainer'"'"'s image")' >&2
    exit "$status"
}
