//! The outbound rules behind the host functions of sockets: a guest tries addresses and names, and servers of the test
//! tell whether it reached them.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use corundum_abi::outbound::{OutboundPolicy, OutboundTarget};
use corundum_host::dyno::Dyno;
use corundum_host::engine::{Engine, EngineConfig};
use corundum_host::log::{DiscardLog, LogSink};
use corundum_host::os::{Filesystem, GuestProcess, TmpLimits};
use corundum_host::outbound::{AppOutbound, OutboundRules};
use corundum_host::pack::Pack;
use corundum_pack::PackDir;
use corundum_test_support::module_pack;
use futures_util::StreamExt;
use tokio::sync::mpsc;

const STREAM: u32 = 1;
const DATAGRAM: u32 = 2;
const LOOK_UP: u32 = 3;

/// Numbers of WASI.
const SUCCESS: u32 = 0;
const EACCES: u32 = 2;
const ECONNREFUSED: u32 = 14;
const ENOENT: u32 = 44;

/// The lines that a dyno logs.
#[derive(Default)]
struct CollectedLog(Mutex<Vec<String>>);

impl LogSink for CollectedLog {
    fn line(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        self.0.lock().unwrap().push(line);
    }
}

/// Runs the guest with these rules. Returns an errno for each record, and the log.
async fn attempt(
    list: Option<&[&str]>,
    grants: &[&str],
    records: Vec<[u8; 64]>,
) -> (Vec<u32>, Vec<String>) {
    let targets = |texts: &[&str]| -> Vec<OutboundTarget> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let policy = OutboundPolicy {
        grants: targets(grants),
        ..OutboundPolicy::default()
    };
    let rules = OutboundRules::new(list.map(targets), AppOutbound::new(policy));
    let engine = Engine::new(EngineConfig::on_demand()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    module_pack::write(directory.path(), include_str!("guest.wat"));
    let prepared = PackDir::open(directory.path()).unwrap();
    let opened = Pack::open(&engine, &prepared, Arc::new(DiscardLog), |_| {}).await;
    let pack = opened.unwrap();
    let process = GuestProcess::new(Arc::from([]), Arc::from([]), SystemTime::UNIX_EPOCH);
    let account = engine.account(TmpLimits::default());
    let filesystem = Filesystem::new(pack.root().clone(), None, None, process, account);
    let log = Arc::new(CollectedLog::default());
    let (base, filesystem) = (pack.base(), Arc::new(filesystem));
    let dyno = Dyno::instantiate(&engine, &pack, base, filesystem, rules, log.clone()).await;
    let input = futures_util::stream::iter([Ok(Bytes::from(records.concat()))]).boxed();
    let (output, mut answers) = mpsc::channel(1024);
    assert_eq!(dyno.unwrap().run(input, output).await.unwrap(), 0);
    let mut bytes = Vec::new();
    while let Some(piece) = answers.recv().await {
        bytes.extend_from_slice(&piece);
    }
    let answers = bytes.chunks_exact(4);
    let answers = answers.map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
    let lines = log.0.lock().unwrap().clone();
    (answers.collect(), lines)
}

/// Makes a record for an address as a guest writes it: without any check.
fn endpoint(kind: u32, address: SocketAddr) -> [u8; 64] {
    let mut record = [0; 64];
    record[..4].copy_from_slice(&kind.to_le_bytes());
    record[6..8].copy_from_slice(&address.port().to_le_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            record[4] = 2;
            record[8..12].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            record[4] = 10;
            record[8..24].copy_from_slice(&ip.octets());
        }
    }
    record
}

fn name(text: &str) -> [u8; 64] {
    let mut record = [0; 64];
    record[..4].copy_from_slice(&LOOK_UP.to_le_bytes());
    record[4] = u8::try_from(text.len()).unwrap();
    record[8..8 + text.len()].copy_from_slice(text.as_bytes());
    record
}

/// Returns an address of the machine that is not a loopback one, if it has one. Nothing is sent.
fn outside_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(own)
}

/// Starts a server that counts its connections.
fn counting_server(at: IpAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((at, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    std::thread::spawn(move || {
        for _ in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_beyond_the_rules_are_refused_in_every_form() {
    let refused = [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "198.18.0.1",
        "203.0.113.1",
        "240.0.0.1",
        "255.255.255.255",
        "224.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "fd00:ec2::254",
        "fd12::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
    ];
    let addresses = refused.map(|text| SocketAddr::new(text.parse().unwrap(), 80));
    for kind in [STREAM, DATAGRAM] {
        let records = addresses.map(|address| endpoint(kind, address)).to_vec();
        for list in [None, Some(&["*", "10.0.0.0/8"][..])] {
            let (answers, log) = attempt(list, &[], records.clone()).await;
            for (text, answer) in refused.iter().zip(&answers) {
                assert_eq!(*answer, EACCES, "{text} {kind}");
            }
            assert_eq!(answers.len(), refused.len());
            // The log has the first refusals, with the grants that would allow them.
            assert_eq!(log.len(), 10, "{log:#?}");
            assert!(log[0].ends_with("outbound:add http://10.0.0.1") == (kind == STREAM));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listener_of_the_node_is_reached_by_an_exact_grant_only() {
    let Some(own) = outside_address() else {
        eprintln!("skipped: the machine has no address but loopback ones");
        return;
    };
    let (address, count) = counting_server(own);
    let records = vec![endpoint(STREAM, address)];
    for grants in [&[][..], &["*", "0.0.0.0/0", "::/0"]] {
        let (answers, log) = attempt(None, grants, records.clone()).await;
        assert_eq!(answers, [EACCES], "{grants:?}");
        assert_eq!(log.len(), 1, "{log:?}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let exact = format!("tcp://{address}");
    let (answers, log) = attempt(Some(&[]), &[&exact], records).await;
    assert_eq!((answers, log.len()), (vec![SUCCESS], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn loopback_of_the_node_is_reached_by_an_exact_grant_only() {
    let (address, count) = counting_server([127, 0, 0, 1].into());
    let port = address.port();
    let spellings = [
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "::",
        "::1",
        "127.0.0.2",
    ];
    let records =
        spellings.map(|text| endpoint(STREAM, SocketAddr::new(text.parse().unwrap(), port)));
    let (answers, _) = attempt(None, &["0.0.0.0/0", "::/0"], records.to_vec()).await;
    assert_eq!(answers, [ECONNREFUSED; 6]);
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let exact = format!("tcp://127.0.0.1:{port}");
    let (answers, _) = attempt(None, &[&exact], records[..2].to_vec()).await;
    assert_eq!(answers, [SUCCESS; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_beyond_the_list_are_not_looked_up() {
    let names = [
        ("localhost", SUCCESS),
        ("LOCALHOST.", SUCCESS),
        ("secret.evil.example", EACCES),
        ("api.example.com.evil.example", EACCES),
        ("xapi.example.com", EACCES),
        ("2130706433", ENOENT),
        ("0x7f000001", ENOENT),
        ("127.1", ENOENT),
        ("0177.0.0.1", ENOENT),
        ("user@api.example.com", ENOENT),
        ("a..example", ENOENT),
        ("", ENOENT),
    ];
    let records = names.map(|(text, _)| name(text)).to_vec();
    let list = ["https://api.example.com"];
    let (answers, log) = attempt(Some(&list), &[], records).await;
    for ((text, expected), answer) in names.iter().zip(&answers) {
        assert_eq!(answer, expected, "{text}");
    }
    assert_eq!(log.len(), 3, "{log:?}");
    assert!(
        log[0].contains("add \"https://secret.evil.example\""),
        "{log:?}"
    );
}
