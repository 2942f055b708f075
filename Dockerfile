# syntax=docker/dockerfile:1
# The detector in a small image: docker build -t detector .
# Versions are held to rust-toolchain.toml by scripts/check-deploy.

FROM rust:1.95.0-slim-bookworm AS build
# librdkafka, OpenSSL (configured by Perl), zstd and the allocator are C.
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ make perl zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src

# Dependencies first, with empty sources in place of ours: this layer lasts until a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY features/Cargo.toml features/
COPY graph/Cargo.toml graph/
COPY models/Cargo.toml models/
COPY engine/Cargo.toml engine/
COPY training/Cargo.toml training/
COPY detector/Cargo.toml detector/
COPY tests/Cargo.toml tests/
RUN for crate in features graph models engine training detector tests; do \
      mkdir -p "$crate/src" && : >"$crate/src/lib.rs"; \
    done \
 && echo 'fn main() {}' >detector/src/main.rs \
 && cargo build --release --locked -p detector \
 && rm -rf features/src graph/src models/src engine/src training/src detector/src tests/src

COPY features features
COPY graph graph
COPY models models
COPY engine engine
COPY training training
COPY detector detector
COPY tests/Cargo.toml tests/Cargo.toml
# Cargo compares times, and the files of a checkout may be older than the empty ones were.
RUN mkdir -p tests/src && : >tests/src/lib.rs \
 && find . -name '*.rs' -not -path './target/*' -exec touch {} + \
 && cargo build --release --locked -p detector \
 && strip -o /detector target/release/detector \
 && mkdir /data

FROM debian:bookworm-slim
# The authorities that vouch for brokers, Redis and registries by default.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin detector
COPY --from=build /detector /usr/local/bin/detector
COPY detector/shipped/model /usr/share/detector/model
COPY deploy/detector.toml /etc/detector/detector.toml
COPY deploy/healthcheck /usr/local/bin/healthcheck
# Where `simulate` writes: a new volume takes its owner from here.
COPY --from=build --chown=10001:10001 /data /data
USER 10001:10001
WORKDIR /data
EXPOSE 9600
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/local/bin/healthcheck"]
ENTRYPOINT ["/usr/local/bin/detector"]
CMD ["run", "--config", "/etc/detector/detector.toml"]
