# The image of cryptnono: its static programs and nothing else.
#
# Any builder makes it from a clean checkout, with programs that it compiles:
#
#	docker build .
#
# buildah 1.28, Podman 4.3 and older ones have to be told what is the default:
# --build-arg BINARIES=build.
#
# `make image` takes the programs from bin/image instead, which `make image-root`
# has put there (--build-arg BINARIES=prebuilt), so that it needs no base image,
# no network and no emulator for the other architecture, and that the programs
# are the released ones to the byte.
#
# The stage that is not named in BINARIES is not built. Builders older than
# BuildKit and buildah 1.28 build it all the same; give them --target.
ARG BINARIES=build

# Not in an argument, where Dependabot does not look.
FROM --platform=${BUILDPLATFORM} docker.io/library/golang:1.26-bookworm AS build
ARG TARGETARCH
ARG VERSION=dev
WORKDIR /src
COPY . .
RUN make image-root ARCHS=${TARGETARCH} VERSION=${VERSION} && mv bin/image/${TARGETARCH} /image

FROM scratch AS prebuilt
ARG TARGETARCH
COPY bin/image/${TARGETARCH} /image

FROM ${BINARIES} AS programs

FROM scratch
ARG VERSION=dev
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="cryptnono" \
	org.opencontainers.image.description="Stops cryptocurrency miners on Linux machines where strangers may run code" \
	org.opencontainers.image.licenses="GPL-3.0-or-later" \
	org.opencontainers.image.url="https://github.com/cryptnono/cryptnono" \
	org.opencontainers.image.source="https://github.com/cryptnono/cryptnono" \
	org.opencontainers.image.documentation="https://github.com/cryptnono/cryptnono/blob/main/docs/install.md" \
	org.opencontainers.image.vendor="The cryptnono authors" \
	org.opencontainers.image.version="${VERSION}" \
	org.opencontainers.image.revision="${REVISION}" \
	org.opencontainers.image.created="${CREATED}"
COPY --from=programs /image /
# Root, since container engines give added capabilities to no other user in a form
# that survives the start of a program. What root may do here is what its
# capabilities allow: docs/install.md has the list.
USER 0:0
# For `kubectl exec POD -- cryptnono doctor`.
ENV PATH=/
ENTRYPOINT ["/cryptnono"]
CMD ["run"]
