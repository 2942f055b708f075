//! Prints what the graph costs: `cargo run --release -p graph --example bench_graph [accounts]`.
//!
//! The workload of the budgets: accounts drawn by Zipf 1.0, three entities per event (device, card,
//! IP), about five links per account, events in batches of 64 with the lines warmed first. Times are
//! this thread's CPU time where the system tells it (Linux), else wall time.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement reads the clock and prints"
)]

use graph::{GraphConfig, KindRules, LinkGraph, Node, Touched};
use std::sync::OnceLock;
use std::time::Instant;

const BATCH: usize = 64;
const EVENTS: usize = 2_000_000;

/// xorshift64*, seeded: the same workload every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, n: u32) -> u32 {
        (((self.next() >> 32) * u64::from(n)) >> 32) as u32
    }
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
    /// Zipf 1.0 over `n`, by the continuous inverse: rank = n^u; ranks scattered over the ids.
    fn zipf(&mut self, n: u32) -> u32 {
        let rank = f64::from(n).powf(self.unit()) as u64;
        ((rank * 2_654_435_761) % u64::from(n)) as u32
    }
}

/// The entities of an account's event: two devices, one card, one or two IPs, some of them shared.
fn nodes(random: &mut Random, account: u32, accounts: u32) -> [Node; 3] {
    let device = account / 5 * 8 + account % 5 + random.below(2);
    let ip =
        if random.below(2) == 0 { account / 20 } else { accounts / 10 + account % (accounts / 50) };
    [Node::new(1, device), Node::new(2, account - u32::from(account % 16 == 1)), Node::new(3, ip)]
}

/// CPU time of this thread so far, in nanoseconds.
fn now_ns() -> f64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let began = BEGAN.get_or_init(Instant::now);
    let cpu = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let cpu = cpu.and_then(|text| text.split(' ').next()?.parse().ok());
    cpu.unwrap_or(began.elapsed().as_nanos() as f64)
}

fn main() {
    let accounts: u32 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(1_000_000);
    let strong = KindRules { strong: true, ..KindRules::default() };
    let kinds = vec![
        KindRules::default(),
        strong,
        strong,
        KindRules { weight: 0.3, ..KindRules::default() },
    ];
    let config = GraphConfig { kinds, ..GraphConfig::default() };
    let mut graph = LinkGraph::new(config.clone()).expect("valid");
    let mut random = Random(42);
    let start_ms = 1_700_000_000_000;
    graph.advance(start_ms);

    let began = now_ns();
    let mut touches = 0u64;
    for account in 0..accounts {
        graph.add_account(account, random.next());
        for _ in 0..4 {
            for node in nodes(&mut random, account, accounts) {
                graph.touch(account, node, start_ms + i64::from(account));
                touches += 1;
            }
        }
        if account % 97 == 0 {
            graph.set_bad(account, true);
        }
    }
    let size = graph.size();
    println!("build: {} accounts, {} entities, {} links", size.accounts, size.entities, size.links);
    println!("  {:.0} ns per touch", (now_ns() - began) / touches as f64);
    println!(
        "  {:.0} bytes per account, {:.1} bytes per link, all in",
        size.bytes as f64 / size.accounts as f64,
        size.bytes as f64 / size.links as f64
    );
    graph.take_dirty();

    let events: Vec<(u32, [Node; 3])> = (0..EVENTS)
        .map(|_| {
            let account = random.zipf(accounts);
            (account, nodes(&mut random, account, accounts))
        })
        .collect();
    let mut out = vec![0.0f32; graph.feature_count()];
    let mut sum = 0.0f64;
    for (name, warm, suspicion) in [
        ("touch x3 + features, naive", false, false),
        ("touch x3 + features, warmed", true, false),
        ("touch x3 + suspicion + features, warmed", true, true),
    ] {
        let began = now_ns();
        let mut ts_ms = start_ms + 1_000_000;
        for batch in events.chunks(BATCH) {
            if warm {
                batch.iter().for_each(|(account, nodes)| {
                    graph.warm(*account);
                    nodes.iter().for_each(|n| graph.warm_node(*n));
                });
                batch.iter().for_each(|(account, nodes)| {
                    graph.warm_links(*account);
                    nodes.iter().for_each(|n| graph.warm_members(*n));
                });
                batch.iter().for_each(|(account, _)| graph.warm_walk(*account));
            }
            for (account, nodes) in batch {
                ts_ms += 1;
                let touched: [Option<Touched>; 3] = nodes.map(|n| graph.touch(*account, n, ts_ms));
                if suspicion {
                    graph.refresh_suspicion(*account);
                }
                let [Some(a), Some(b), Some(c)] = touched else { continue };
                graph.features(*account, &[a, b, c], &[], ts_ms, &mut out);
                sum += f64::from(out[3]) + f64::from(out[4]);
            }
        }
        let (dirty, _) = graph.take_dirty();
        println!(
            "{name}: {:.0} ns per event ({} accounts changed)",
            (now_ns() - began) / EVENTS as f64,
            dirty.len()
        );
    }

    let began = now_ns();
    for (account, _) in &events[..200_000] {
        sum += f64::from(graph.co_share(*account, 2).accounts);
    }
    println!("co-share: {:.0} ns", (now_ns() - began) / 200_000.0);
    let began = now_ns();
    graph.sweep(0, u32::MAX, start_ms);
    println!("sweep: {:.0} ns per account", (now_ns() - began) / f64::from(accounts));
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let began = now_ns();
    for account in 0..accounts {
        graph.save_account(account, &mut bytes);
        ends.push(bytes.len());
    }
    println!(
        "save: {:.0} ns and {} bytes per account",
        (now_ns() - began) / f64::from(accounts),
        bytes.len() / accounts as usize
    );
    let began = now_ns();
    let mut loaded = LinkGraph::new(config).expect("valid");
    let mut start = 0;
    for (account, end) in (0..).zip(&ends) {
        loaded.load_account(account, &bytes[start..*end]).expect("just saved");
        start = *end;
    }
    println!("load: {:.0} ns per account", (now_ns() - began) / f64::from(accounts));
    let began = now_ns();
    graph.rebuild_components();
    println!(
        "rebuild of components: {:.0} ns per link",
        (now_ns() - began) / graph.size().links as f64
    );
    println!("(checksum {sum})");
}
