# The agent's image: built with Rust, run on Debian with conntrack-tools.
#
# It runs as nobody, so what it may ask the kernel comes from file capabilities: capabilities that a container is given
# (`cap_add`, Kubernetes' `capabilities.add`) are not ambient, and a process that is not root has none of them after
# exec. Both programs have CAP_NET_ADMIN, since `conntrack -S` is a process of its own. Four things follow:
# - the container must be given NET_ADMIN, or the kernel refuses to start the agent ("operation not permitted");
# - `no-new-privileges` (Kubernetes: `allowPrivilegeEscalation: false`) makes file capabilities void: nothing breaks,
#   and the agent reads /proc/net/stat/nf_conntrack, where the kernel has it;
# - probes over ICMP take no capability where net.ipv4.ping_group_range of the container has its group, which Docker sees
#   to unless the container has the host's network; elsewhere they take root and NET_RAW, since the file does not have it;
# - run as root (`--user 0`), it needs NET_ADMIN only, and all of this works together.

# Tags, not digests, and Debian packages without a snapshot: see .env.
ARG RUST_TAG=1.95-slim-trixie
ARG DEBIAN_TAG=trixie-slim

FROM rust:${RUST_TAG} AS build
WORKDIR /src
# What .dockerignore lets through.
COPY . .
RUN cargo build --locked --release --bin connscope

FROM debian:${DEBIAN_TAG}
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates conntrack libcap2-bin \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/connscope /usr/local/bin/connscope
RUN setcap cap_net_admin+ep /usr/local/bin/connscope \
    && setcap cap_net_admin+ep /usr/sbin/conntrack
USER 65534:65534
EXPOSE 9371
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["connscope", "healthcheck"]
ENTRYPOINT ["connscope"]
# Within a container, loopback is the container's own.
CMD ["--listen", "0.0.0.0:9371"]
