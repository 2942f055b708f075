//! A real cluster of two masters, and a real Sentinel.

use super::super::config::{RedisMode, RedisSection};
use super::super::server::RedisShards;
use super::real::{at, name, up};
use super::server::{Server, free_port};
use std::collections::BTreeMap;
use std::time::Duration;

fn port(server: &Server) -> u16 {
    let mut connection = server.connection();
    let (_, port): (String, String) =
        redis::cmd("CONFIG").arg("GET").arg("port").query(&mut connection).expect("asks");
    port.parse().expect("a port")
}

/// Tries until it is so: nodes talk to each other in their own time.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}");
}

#[test]
fn shards_on_two_masters() {
    let nodes = [0, 1].map(|_| {
        let (port, bus) = (free_port().to_string(), free_port().to_string());
        Server::start(&["--port", &port, "--cluster-enabled", "yes", "--cluster-port", &bus])
    });
    let [first, second] = &nodes;
    for (node, from, to) in [(first, 0, 8191), (second, 8192, 16383)] {
        let mut add = redis::cmd("CLUSTER");
        add.arg("ADDSLOTSRANGE").arg(from).arg(to).exec(&mut node.connection()).expect("adds");
    }
    let bus: Vec<String> = redis::cmd("CONFIG")
        .arg("GET")
        .arg("cluster-port")
        .query(&mut second.connection())
        .expect("asks");
    let mut meet = redis::cmd("CLUSTER");
    meet.arg("MEET").arg("127.0.0.1").arg(port(second)).arg(&bus[1]);
    meet.exec(&mut first.connection()).expect("meets");
    until("the cluster is whole", || {
        nodes.iter().all(|node| {
            let info: String =
                redis::cmd("CLUSTER").arg("INFO").query(&mut node.connection()).expect("asks");
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
        })
    });
    let section = RedisSection {
        mode: RedisMode::Cluster,
        urls: vec![format!("redis://127.0.0.1:{}", port(first))],
        shards: 16,
        ..RedisSection::default()
    };
    assert_eq!(section.validate(), Ok(()));
    let mut store = first.store(&section);
    up(&mut store, None);
    let records = || (0..500).map(|i| (name(i), Some(vec![i as u8; 10])));
    store.checkpoint(&at(1), records()).expect("a checkpoint");
    store.publish_layout("h", "{}").expect("publishes");
    store.heartbeat(Duration::from_secs(60)).expect("it is the owner");
    for node in &nodes {
        let keys: usize = redis::cmd("DBSIZE").query(&mut node.connection()).expect("counts");
        assert!(keys > 100, "{keys}");
    }
    let mut next = first.store(&section);
    let (_, position, loaded) = up(&mut next, Some(1));
    let expected: BTreeMap<_, _> = records().map(|(n, v)| (n, v.expect("a value"))).collect();
    assert_eq!((position, loaded), (at(1), expected));
    assert_eq!(next.newest(&name(7)).expect("reads"), Some(vec![7; 10]));
    // Slots that were given to the other node: the client is sent on, and finds its way.
    let single = RedisSection { url: section.urls[0].clone(), ..RedisSection::default() };
    let error = RedisShards::open(&single).map(|_| ()).expect_err("it is a cluster");
    assert!(error.to_string().contains("mode = \"cluster\""), "{error}");
}

#[test]
fn a_master_that_a_sentinel_knows() {
    let master_port = free_port().to_string();
    let master = Server::start(&["--port", &master_port, "--requirepass", "geheim"]);
    let sentinel = Server::sentinel(&format!(
        "sentinel monitor m 127.0.0.1 {master_port} 1\nsentinel auth-pass m geheim\n"
    ));
    let section = RedisSection {
        mode: RedisMode::Sentinel,
        urls: vec![format!("redis://127.0.0.1:{}", sentinel.port)],
        master_name: "m".to_owned(),
        password: Some("geheim".to_owned()),
        ..RedisSection::default()
    };
    assert_eq!(section.validate(), Ok(()));
    let mut store = master.store(&section);
    up(&mut store, None);
    store.checkpoint(&at(1), [(name(1), Some(vec![1]))]).expect("a checkpoint");
    let other = RedisSection { master_name: "other".to_owned(), ..section };
    let error = RedisShards::open(&other).map(|_| ()).expect_err("no such master");
    assert!(error.to_string().contains("get-master-addr-by-name other"), "{error}");
}
