//! One suite for the fake and for the kernel, and what only the kernel can show.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::time::Duration;

use netlink::netns::OwnedNetns;
use nft::{
    Bits, ChainKind, Data, DataType, Datum, Element, Fake, Hook, HookPoint, Kernel, Monitor, Nft, Notice, Operand,
    Rejection, Remember, Rule, Set, Statement, Table, Transaction, Value, Verdict,
};
use testkit::netns::root;

const FRONTEND: [DataType; 3] = [DataType::Ipv4Addr, DataType::InetProto, DataType::InetService];
const FRONTEND_KEY: [Value; 3] = [Value::DestinationAddress, Value::Protocol, Value::DestinationPort];
const INDEXED: [DataType; 4] = [DataType::Ipv4Addr, DataType::InetProto, DataType::InetService, DataType::Mark];
const BACKEND: [DataType; 2] = [DataType::Ipv4Addr, DataType::InetService];

fn scratch(name: &str) -> OwnedNetns {
    testkit::netns::scratch(&format!("nft-{name}"))
}

/// Runs a check on the fake, and on the kernel in a namespace of the test's own.
fn on_both(name: &str, check: impl Fn(&dyn Nft)) {
    check(&Fake::new());
    if root() {
        let space = scratch(name);
        check(&Kernel::open_in(space.path()).unwrap());
    }
}

fn table() -> Table {
    Table::ip("suite")
}

fn frontend(port: u16) -> Vec<Datum> {
    vec![Datum::Addr(Ipv4Addr::new(10, 96, 0, 1)), Datum::Proto(6), Datum::Port(port)]
}

/// Every kind of chain, set, statement and element that there is.
fn everything() -> Transaction {
    let mut t = Transaction::replacing(table());
    t.add_hook_chain("prerouting", Hook { kind: ChainKind::Nat, point: HookPoint::Prerouting, priority: -100 });
    t.add_hook_chain("forward", Hook { kind: ChainKind::Filter, point: HookPoint::Forward, priority: 0 });
    t.add_hook_chain("postrouting", Hook { kind: ChainKind::Nat, point: HookPoint::Postrouting, priority: 100 });
    t.add_chain("pick-2");
    t.add_chain("refuse");
    t.add_set(Set::verdict_map("services", &FRONTEND));
    t.add_set(Set::map("endpoints", &INDEXED, &BACKEND));
    t.add_set(Set::new("addresses", &[DataType::Ipv4Addr]));
    t.add_set(Set::new("ranges", &FRONTEND_AND_SOURCE).interval());
    t.add_set(Set::map("affinity", &INDEXED_BY_CLIENT, &BACKEND).dynamic(1000));
    let [a, b, c] = FRONTEND_KEY;
    let chosen = Statement::Dnat {
        key: vec![a, b, c, Value::Random(2)],
        map: "endpoints".to_owned(),
        remember: Some(Remember {
            map: "affinity".to_owned(),
            key: vec![Value::SourceAddress, a, b, c],
            timeout: Duration::from_secs(10_800),
        }),
    };
    t.add_rule("pick-2", Rule::new([chosen]).comment("share of 1/2 each"));
    t.add_rule(
        "refuse",
        Rule::new([Statement::equal(Value::Protocol, Operand::Protocol(6)), Statement::Reject(Rejection::TcpReset)]),
    );
    t.add_rule("refuse", Rule::new([Statement::Reject(Rejection::PortUnreachable)]));
    t.add_rule(
        "prerouting",
        Rule::new([
            Statement::equal(Value::DestinationKind, Operand::Local),
            Statement::equal(Value::DestinationPort, Operand::Port(30080)),
            Statement::SetMarkBits(0x4000),
        ]),
    );
    t.add_rule(
        "prerouting",
        Rule::new([Statement::Dispatch { key: FRONTEND_KEY.to_vec(), map: "services".to_owned() }]),
    );
    t.add_rule(
        "forward",
        Rule::new([
            Statement::equal(Value::ConnectionState, Operand::Bits(Bits::New)),
            Statement::Lookup { key: vec![Value::DestinationAddress], set: "addresses".to_owned(), negated: false },
            Statement::Counter,
            Statement::goto("refuse"),
        ]),
    );
    t.add_rule(
        "forward",
        Rule::new([
            Statement::Lookup { key: vec![a, b, c, Value::SourceAddress], set: "ranges".to_owned(), negated: true },
            Statement::not_equal(Value::InputInterface, Operand::Interface("lo".to_owned())),
            Statement::Verdict(Verdict::Drop),
        ]),
    );
    t.add_rule(
        "postrouting",
        Rule::new([
            Statement::not_equal(Value::SourceAddress, Operand::Prefix("10.244.0.0/16".parse().unwrap())),
            Statement::equal(Value::ConnectionStatus, Operand::Bits(Bits::Dnat)),
            Statement::equal(Value::Mark, Operand::Bits(Bits::Mark(0x4000))),
            Statement::ClearMarkBits(0x4000),
            Statement::Masquerade,
        ]),
    );
    t.add_elements(
        "services",
        vec![
            Element::new(frontend(443), Data::Verdict(Verdict::Goto("pick-2".to_owned())))
                .comment("default/kubernetes:https"),
        ],
    );
    t.add_elements("endpoints", (0..2u8).map(|index| endpoint(443, index)).collect());
    t.add_elements("addresses", vec![Element::key([Datum::Addr(Ipv4Addr::new(10, 96, 0, 1))])]);
    let mut range = frontend(443);
    range.push(Datum::Prefix("192.168.0.0/16".parse().unwrap()));
    t.add_elements("ranges", vec![Element::key(range)]);
    t
}

const FRONTEND_AND_SOURCE: [DataType; 4] =
    [DataType::Ipv4Addr, DataType::InetProto, DataType::InetService, DataType::Ipv4Addr];
const INDEXED_BY_CLIENT: [DataType; 4] =
    [DataType::Ipv4Addr, DataType::Ipv4Addr, DataType::InetProto, DataType::InetService];

fn endpoint(port: u16, index: u8) -> Element {
    let mut key = frontend(port);
    key.push(Datum::Mark(u32::from(index)));
    let backend = vec![Datum::Addr(Ipv4Addr::new(10, 244, 1, 2 + index)), Datum::Port(6443)];
    Element::new(key, Data::Values(backend)).comment("default/kubernetes:https")
}

#[test]
fn what_is_applied_is_what_is_listed() {
    on_both("roundtrip", |nft| {
        assert_eq!(nft.list(&table()).unwrap(), None);
        nft.apply(&everything()).unwrap();
        let listing = nft.list(&table()).unwrap().unwrap();
        let chains: Vec<_> =
            listing.chains.iter().map(|(name, chain)| (name.as_str(), chain.hooked, chain.rules.len())).collect();
        assert_eq!(
            chains,
            [
                ("forward", true, 2),
                ("pick-2", false, 1),
                ("postrouting", true, 1),
                ("prerouting", true, 2),
                ("refuse", false, 2)
            ]
        );
        assert_eq!(listing.chains["pick-2"].rules, [Some("share of 1/2 each".to_owned())]);
        assert_eq!(listing.sets["endpoints"], [endpoint(443, 0), endpoint(443, 1)]);
        assert_eq!(listing.sets["services"][0].data, Some(Data::Verdict(Verdict::Goto("pick-2".to_owned()))));
        assert_eq!(listing.sets["ranges"][0].key[3], Datum::Prefix("192.168.0.0/16".parse().unwrap()));
        assert_eq!(listing.sets["affinity"], []);
    });
}

#[test]
fn replacing_a_table_twice_leaves_the_same_table() {
    on_both("replace", |nft| {
        nft.apply(&everything()).unwrap();
        let once = nft.list(&table()).unwrap();
        nft.apply(&everything()).unwrap();
        assert_eq!(nft.list(&table()).unwrap(), once);
        nft.apply(&Transaction::removing(table())).unwrap();
        assert_eq!(nft.list(&table()).unwrap(), None);
    });
}

#[test]
fn an_element_is_replaced_by_deleting_and_adding_it_in_one_transaction() {
    on_both("element", |nft| {
        nft.apply(&everything()).unwrap();
        let mut moved = endpoint(443, 1);
        moved.data = Some(Data::Values(vec![Datum::Addr(Ipv4Addr::new(10, 244, 9, 9)), Datum::Port(80)]));
        let mut t = Transaction::new(table());
        t.add_elements("endpoints", vec![moved.clone()]);
        assert!(nft.apply(&t).is_err(), "a key has one value");
        let mut t = Transaction::new(table());
        t.delete_elements("endpoints", vec![endpoint(443, 1)]);
        t.add_elements("endpoints", vec![moved.clone()]);
        nft.apply(&t).unwrap();
        assert_eq!(nft.list(&table()).unwrap().unwrap().sets["endpoints"], [endpoint(443, 0), moved]);
    });
}

#[test]
fn a_transaction_that_fails_late_changes_nothing() {
    on_both("atomic", |nft| {
        nft.apply(&everything()).unwrap();
        let before = nft.list(&table()).unwrap();
        let mut t = Transaction::new(table());
        t.delete_elements("endpoints", vec![endpoint(443, 0)]);
        t.delete_elements("endpoints", vec![endpoint(9999, 0)]);
        let error = nft.apply(&t).unwrap_err();
        assert!(error.is_absent(), "{error:?}");
        assert!(error.to_string().contains("delete element ip suite endpoints { 10.96.0.1 . tcp . 9999"), "{error}");
        assert_eq!(nft.list(&table()).unwrap(), before);
    });
}

#[test]
fn a_chain_in_use_stays_and_a_missing_one_is_refused() {
    on_both("chains", |nft| {
        nft.apply(&everything()).unwrap();
        let mut t = Transaction::new(table());
        t.delete_chain("pick-2");
        assert!(nft.apply(&t).is_err(), "an element of services leads there");
        let mut t = Transaction::new(table());
        t.add_elements(
            "services",
            vec![Element::new(frontend(80), Data::Verdict(Verdict::Goto("nowhere".to_owned())))],
        );
        assert!(nft.apply(&t).is_err());
        let mut t = Transaction::new(table());
        t.delete_elements("services", vec![Element::key(frontend(443))]);
        t.delete_chain("pick-2");
        nft.apply(&t).unwrap();
        assert!(!nft.list(&table()).unwrap().unwrap().chains.contains_key("pick-2"));
    });
}

#[test]
fn a_transaction_reads_as_nft_would_write_it() {
    let mut t = Transaction::new(table());
    t.add_elements("endpoints", vec![endpoint(443, 1)]);
    t.add_elements("services", vec![Element::new(frontend(443), Data::Verdict(Verdict::Goto("pick-2".to_owned())))]);
    expect_test::expect![[r#"
        add element ip suite endpoints { 10.96.0.1 . tcp . 443 . 1 comment "default/kubernetes:https" : 10.244.1.3 . 6443 }
        add element ip suite services { 10.96.0.1 . tcp . 443 : goto pick-2 }
    "#]]
    .assert_eq(&t.to_string());
}

#[test]
fn thousands_of_elements_go_in_one_transaction() {
    if !root() {
        return;
    }
    let space = scratch("thousands");
    let kernel = Kernel::open_in(space.path()).unwrap();
    kernel.apply(&everything()).unwrap();
    let mut t = Transaction::new(table());
    t.add_elements("endpoints", (1000..11_000).map(|port| endpoint(port, 0)).collect());
    kernel.apply(&t).unwrap();
    assert_eq!(kernel.list(&table()).unwrap().unwrap().sets["endpoints"].len(), 10_002);
}

#[tokio::test]
async fn the_monitor_tells_who_removed_what() {
    if !root() {
        return;
    }
    let space = scratch("monitor");
    let (ours, other) = (Kernel::open_in(space.path()).unwrap(), Kernel::open_in(space.path()).unwrap());
    let mut monitor = Monitor::open_in(space.path()).unwrap();
    ours.apply(&everything()).unwrap();
    let Notice::Committed { port, .. } = monitor.next().await.unwrap() else { panic!("lost") };
    assert_eq!(port, ours.port());
    other.apply(&Transaction::removing(table())).unwrap();
    let Notice::Committed { port, by, changes } = monitor.next().await.unwrap() else { panic!("lost") };
    assert_eq!(port, other.port());
    assert!(by.id != 0 && !by.name.is_empty(), "{by:?}");
    assert!(
        changes.iter().any(|change| change.deleted && change.table == "suite" && change.object == "table"),
        "{changes:?}"
    );
}
