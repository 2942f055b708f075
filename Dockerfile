# The detector in a small image: docker build -t detector .
# Versions are compared with rust-toolchain.toml by scripts/check-deploy; scripts/pin-images renews the digests.
# Both stages are Debian 13, for the C library. Mirrors and tests name other images with --build-arg.
ARG BUILD_IMAGE=rust:1.95.0-slim-trixie@sha256:e14e87345b4d5964ddcc3491d27ee046a0f23820f340c3c1e24da6880141f7c0
ARG RUN_IMAGE=debian:trixie-20260918-slim@sha256:a99cfc517144bc59b1978475ec53b46ecabec7e43635402ee5b77cc54cd1b20a

FROM ${BUILD_IMAGE} AS build
# librdkafka, OpenSSL (configured by Perl), zstd and the allocator are C.
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ make perl zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src

# Dependencies first, with empty sources in place of ours: this layer lasts until a manifest changes. Tests that a manifest
# names must be there, too.
COPY Cargo.toml Cargo.lock ./
COPY features/Cargo.toml features/
COPY graph/Cargo.toml graph/
COPY models/Cargo.toml models/
COPY engine/Cargo.toml engine/
COPY training/Cargo.toml training/
COPY detector/Cargo.toml detector/
COPY tests/Cargo.toml tests/
RUN for crate in features graph models engine training detector tests; do \
      mkdir -p "$crate/src" "$crate/tests" && : >"$crate/src/lib.rs"; \
      for test in $(sed -n '/^\[\[test\]\]/,/^$/s/^name = "\(.*\)"/\1/p' "$crate/Cargo.toml"); do : >"$crate/tests/$test.rs"; done; \
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

FROM ${RUN_IMAGE}
# The authorities that vouch for brokers, Redis and registries by default.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin detector
COPY --from=build /detector /usr/local/bin/detector
COPY detector/shipped/model /usr/share/detector/model
COPY deploy/detector.toml /etc/detector/detector.toml
COPY deploy/healthcheck /usr/local/bin/healthcheck
# Where `simulate` writes, and where the token of docker-compose.yml is kept: a new volume takes its owner from here.
COPY --from=build --chown=10001:10001 /data /data
COPY --from=build --chown=10001:10001 /data /secrets
USER 10001:10001
WORKDIR /data
EXPOSE 9600
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/local/bin/healthcheck"]
ENTRYPOINT ["/usr/local/bin/detector"]
CMD ["run", "--config", "/etc/detector/detector.toml"]
