//! Servers with TLS: one alone, a Sentinel and its master, a cluster; users, and certificates that are wrong.

use super::super::config::{RedisMode, RedisSection};
use super::super::server::RedisShards;
use super::cluster::until;
use super::real::{at, name, up};
use super::server::{Server, free_port};
use std::path::Path;
use std::process::Command;

/// An authority, and a certificate of it that is good for servers and clients on this machine.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join("ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
            .expect("a file can be written");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        for words in [
            format!("req -x509 {key} -keyout ca.key -out ca.pem -days 9 -subj /CN=test"),
            format!("req -new {key} -keyout key -out request -subj /CN=localhost"),
            "x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -extfile ext -out cert".into(),
        ] {
            let out = Command::new("openssl")
                .args(words.split(' '))
                .current_dir(folder.path())
                .output()
                .expect("openssl can be run (apt-get install openssl)");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Options of a server; `clients` is `yes` when they have to show a certificate.
    fn options(&self, port: u16, clients: &str) -> Vec<String> {
        let (port, ca) = (port.to_string(), self.path("ca.pem"));
        let (cert, key) = (self.path("cert"), self.path("key"));
        [
            ["--tls-port", &port],
            ["--tls-ca-cert-file", &ca],
            ["--tls-cert-file", &cert],
            ["--tls-key-file", &key],
            ["--tls-auth-clients", clients],
            ["--tls-cluster", "yes"],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
    }

    fn server(&self, port: u16, clients: &str, more: &[&str]) -> Server {
        let options = self.options(port, clients);
        let mut all: Vec<&str> = options.iter().map(String::as_str).collect();
        all.extend(more);
        Server::start(&all)
    }

    fn section(&self, port: u16) -> RedisSection {
        RedisSection {
            url: format!("rediss://localhost:{port}"),
            ca_file: Some(self.path("ca.pem")),
            ..RedisSection::default()
        }
    }
}

fn refused(section: &RedisSection) -> String {
    RedisShards::open(section).map(|_| ()).expect_err("it is refused").to_string()
}

#[test]
fn one_server_with_users_and_certificates() {
    let made = Certificates::make();
    let port = free_port();
    let server = made.server(port, "optional", &[]);
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg("detector").arg("on").arg(">geheim").arg("~det:*");
    acl.arg(&["+@read", "+@write", "+@scripting", "+@connection", "+info"]);
    acl.exec(&mut server.connection()).expect("a user");
    let good = RedisSection {
        username: Some("detector".to_owned()),
        password: Some("geheim".to_owned()),
        ..made.section(port)
    };
    assert_eq!(good.validate(), Ok(()));
    let mut store = server.store(&good);
    up(&mut store, None);
    store.checkpoint(&at(1), [(name(1), Some(vec![1]))]).expect("a checkpoint");

    let wrong = RedisSection { password: Some("falsch".to_owned()), ..good.clone() };
    let why = refused(&wrong);
    assert!(why.contains("credentials") && !why.contains("falsch"), "{why}");
    // The system's authorities do not vouch for it.
    let strange = RedisSection { ca_file: None, ..good.clone() };
    let why = refused(&strange);
    assert!(why.contains("redis.ca_file"), "{why}");
    let plain = RedisSection { url: format!("redis://localhost:{port}"), ca_file: None, ..good };
    let why = refused(&plain);
    assert!(why.contains("rediss://"), "{why}");
}

#[test]
fn a_server_that_asks_for_a_certificate() {
    let made = Certificates::make();
    let port = free_port();
    let server = made.server(port, "yes", &[]);
    let section = RedisSection {
        certificate_file: Some(made.path("cert")),
        key_file: Some(made.path("key")),
        ..made.section(port)
    };
    assert_eq!(section.validate(), Ok(()));
    let mut store = server.store(&section);
    up(&mut store, None);
    let without = made.section(port);
    let why = refused(&without);
    assert!(why.contains("redis.certificate_file"), "{why}");
    assert!(Path::new(&made.path("ca.pem")).exists());
}

#[test]
fn a_cluster() {
    let made = Certificates::make();
    let nodes = [0, 1].map(|_| {
        let (port, bus) = (free_port(), free_port().to_string());
        let more = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        (made.server(port, "optional", &more), port, bus)
    });
    for ((node, ..), from, to) in [(&nodes[0], 0, 8191), (&nodes[1], 8192, 16383)] {
        let mut add = redis::cmd("CLUSTER");
        add.arg("ADDSLOTSRANGE").arg(from).arg(to).exec(&mut node.connection()).expect("adds");
    }
    let mut meet = redis::cmd("CLUSTER");
    meet.arg("MEET").arg("127.0.0.1").arg(nodes[1].1).arg(&nodes[1].2);
    meet.exec(&mut nodes[0].0.connection()).expect("meets");
    until("the cluster is whole", || {
        nodes.iter().all(|(node, ..)| {
            let info: String =
                redis::cmd("CLUSTER").arg("INFO").query(&mut node.connection()).expect("asks");
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
        })
    });
    let section = RedisSection {
        mode: RedisMode::Cluster,
        urls: vec![format!("rediss://127.0.0.1:{}", nodes[0].1)],
        shards: 16,
        ca_file: Some(made.path("ca.pem")),
        ..RedisSection::default()
    };
    assert_eq!(section.validate(), Ok(()));
    let mut store = nodes[0].0.store(&section);
    up(&mut store, None);
    let records = (0..200).map(|i| (name(i), Some(vec![i as u8])));
    store.checkpoint(&at(1), records).expect("a checkpoint");
    for (node, ..) in &nodes {
        let keys: usize = redis::cmd("DBSIZE").query(&mut node.connection()).expect("counts");
        assert!(keys > 40, "{keys}");
    }
}

#[test]
fn a_master_that_a_sentinel_knows() {
    let made = Certificates::make();
    let port = free_port();
    let master = made.server(port, "optional", &["--requirepass", "geheim"]);
    let lines: String = made
        .options(0, "optional")
        .chunks(2)
        .filter(|pair| pair[0] != "--tls-port" && pair[0] != "--tls-cluster")
        .map(|pair| format!("{} {}\n", pair[0].trim_start_matches('-'), pair[1]))
        .collect();
    let sentinel_port = free_port();
    let sentinel = Server::sentinel(&format!(
        "tls-port {sentinel_port}\ntls-replication yes\n{lines}sentinel monitor m 127.0.0.1 {port} 1\nsentinel auth-pass m geheim\n"
    ));
    let section = RedisSection {
        mode: RedisMode::Sentinel,
        urls: vec![format!("rediss://localhost:{sentinel_port}")],
        master_name: "m".to_owned(),
        password: Some("geheim".to_owned()),
        ca_file: Some(made.path("ca.pem")),
        ..RedisSection::default()
    };
    assert_eq!(section.validate(), Ok(()));
    let mut store = master.store(&section);
    up(&mut store, None);
    store.checkpoint(&at(1), [(name(1), Some(vec![1]))]).expect("a checkpoint");
    let other = RedisSection { master_name: "other".to_owned(), ..section };
    assert!(refused(&other).contains("get-master-addr-by-name other"));
    drop(sentinel);
}
