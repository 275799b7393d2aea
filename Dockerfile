# The agent's image: the static binary and the certificate authorities, and nothing else. `--target conntrack` is the same on Debian with
# conntrack-tools, for `sources.conntrack.via: command`. `.ci/image` builds and runs both, and tries what follows.
#
# It runs as nobody, so what it may ask the kernel comes from file capabilities: capabilities that a container is given
# (`cap_add`, Kubernetes' `capabilities.add`) are not ambient, and a process that is not root has none of them after
# exec. The program has CAP_NET_ADMIN, and so has conntrack, which is a process of its own. Four things follow:
# - the container must be given NET_ADMIN, or the kernel refuses to start the agent ("operation not permitted");
# - `no-new-privileges` (Kubernetes: `allowPrivilegeEscalation: false`) makes file capabilities void: nothing breaks,
#   and the agent reads /proc/net/stat/nf_conntrack, where the kernel has it;
# - probes over ICMP take no capability where net.ipv4.ping_group_range of the container has its group, which Docker sees
#   to unless the container has the host's network; elsewhere they take root and NET_RAW, since the file does not have it;
# - run as root (`--user 0`), it needs NET_ADMIN only, and all of this works together. Whatever takes more capabilities
#   (containers, other network namespaces) is run as root with these and no other.

# Tags, not digests, and Debian packages without a snapshot: see .env.
ARG RUST_TAG=1.95-slim-trixie
ARG DEBIAN_TAG=trixie-slim

FROM rust:${RUST_TAG} AS build
WORKDIR /src
# First what seldom changes.
COPY .ci/static .ci/
RUN .ci/static --tools
# What .dockerignore lets through.
COPY . .
RUN built=$(.ci/static) && cp "$built" /connscope

FROM debian:${DEBIAN_TAG} AS conntrack
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates conntrack libcap2-bin \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /connscope /usr/local/bin/connscope
RUN setcap cap_net_admin+ep /usr/local/bin/connscope \
    && setcap cap_net_admin+ep /usr/sbin/conntrack
ARG REVISION=
LABEL org.opencontainers.image.title=connscope \
    org.opencontainers.image.description="An OpenTelemetry metrics agent that tells what the Linux kernel knows about connections" \
    org.opencontainers.image.licenses=Apache-2.0 \
    org.opencontainers.image.version=0.1.0 \
    org.opencontainers.image.revision=$REVISION
USER 65534:65534
EXPOSE 9371
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/usr/local/bin/connscope", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/connscope"]
# Within a container, loopback is the container's own.
CMD ["--listen", "0.0.0.0:9371"]

FROM scratch
COPY --from=conntrack /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# With its capabilities, which BuildKit keeps.
COPY --from=conntrack /usr/local/bin/connscope /usr/local/bin/connscope
ARG REVISION=
LABEL org.opencontainers.image.title=connscope \
    org.opencontainers.image.description="An OpenTelemetry metrics agent that tells what the Linux kernel knows about connections" \
    org.opencontainers.image.licenses=Apache-2.0 \
    org.opencontainers.image.version=0.1.0 \
    org.opencontainers.image.revision=$REVISION
USER 65534:65534
EXPOSE 9371
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/usr/local/bin/connscope", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/connscope"]
CMD ["--listen", "0.0.0.0:9371"]
