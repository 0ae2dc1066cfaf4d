use std::sync::Arc;

use super::*;
use crate::entry::entry;
use apimachinery::ObjectKey;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

fn index() -> Index {
    let mut index = Index::default();
    ["default", "kube-system"].iter().for_each(|namespace| index.add_namespace(namespace));
    let web = json!({ "clusterIP": "10.96.0.7", "ports": [{ "name": "http", "port": 80 }, { "name": "dns", "port": 53, "protocol": "UDP" }] });
    add(&mut index, "web", web, json!([{ "addresses": ["10.244.1.3"] }]));
    let db = json!({ "clusterIP": "None", "ports": [{ "name": "sql", "port": 5432 }] });
    let endpoints = json!([
        { "addresses": ["10.244.1.4"], "hostname": "db-0" },
        { "addresses": ["10.244.2.4"] },
        { "addresses": ["10.244.2.9"], "conditions": { "ready": false } },
    ]);
    add(&mut index, "db", db, endpoints);
    add(&mut index, "empty", json!({ "clusterIP": "None" }), json!([]));
    add(&mut index, "docs", json!({ "type": "ExternalName", "externalName": "docs.example.com" }), json!([]));
    index
}

fn add(index: &mut Index, name: &str, spec: Value, endpoints: Value) {
    let service = json!({ "metadata": { "namespace": "default", "name": name }, "spec": spec });
    let slice = json!({ "metadata": {}, "addressType": "IPv4", "ports": [{ "name": "sql", "port": 5432 }], "endpoints": endpoints });
    let slices = [Arc::new(serde_json::from_value(slice).unwrap())];
    let entry = entry(&serde_json::from_value(service).unwrap(), &slices);
    index.set(&ObjectKey::new("default", name), entry);
}

/// Asks each question and prints code, records, `+` additionals and what is to be followed.
fn check(questions: &[(&str, RecordType)], expected: Expect) {
    let (index, zone) = (index(), Zone::new("cluster.local", 30).unwrap());
    let mut text = String::new();
    for (name, kind) in questions {
        let found = answer(&index, &zone, &Name::from_ascii(format!("{name}.")).unwrap(), *kind, 1);
        text += &format!("{name} {kind}:");
        match found {
            None => text += " not ours",
            Some(found) => text += &print(&found),
        }
        text += "\n";
    }
    expected.assert_eq(&text);
}

fn print(answer: &Answer) -> String {
    let code = match answer.code.unwrap() {
        ResponseCode::NoError if answer.authority.is_some() => " no data".to_owned(),
        ResponseCode::NoError => String::new(),
        ResponseCode::NXDomain => " no such name".to_owned(),
        other => other.to_string(),
    };
    let data = |record: &Record| format!(" {}", record.data);
    let records: String = answer.records.iter().map(data).collect();
    let more: String = answer.additionals.iter().map(|record| format!(" +{}", record.data)).collect();
    let follow = answer.follow.as_ref().map(|name| format!(" follow {name}")).unwrap_or_default();
    format!("{code}{records}{more}{follow}")
}

#[test]
fn services_have_addresses() {
    check(
        &[
            ("web.default.svc.cluster.local", RecordType::A),
            ("WEB.Default.SVC.cluster.LOCAL", RecordType::A),
            ("web.default.svc.cluster.local", RecordType::AAAA),
            ("nope.default.svc.cluster.local", RecordType::A),
            ("web.nowhere.svc.cluster.local", RecordType::A),
            ("default.svc.cluster.local", RecordType::A),
            ("nowhere.svc.cluster.local", RecordType::A),
            ("web.default.cluster.local", RecordType::A),
        ],
        expect![[r#"
            web.default.svc.cluster.local A: 10.96.0.7
            WEB.Default.SVC.cluster.LOCAL A: 10.96.0.7
            web.default.svc.cluster.local AAAA: no data
            nope.default.svc.cluster.local A: no such name
            web.nowhere.svc.cluster.local A: no such name
            default.svc.cluster.local A: no data
            nowhere.svc.cluster.local A: no such name
            web.default.cluster.local A: no such name
        "#]],
    );
}

#[test]
fn headless_services_stand_for_their_ready_endpoints() {
    check(
        &[
            ("db.default.svc.cluster.local", RecordType::A),
            ("db-0.db.default.svc.cluster.local", RecordType::A),
            ("10-244-2-4.db.default.svc.cluster.local", RecordType::A),
            ("10-244-2-9.db.default.svc.cluster.local", RecordType::A),
            ("empty.default.svc.cluster.local", RecordType::A),
        ],
        expect![[r#"
            db.default.svc.cluster.local A: 10.244.1.4 10.244.2.4
            db-0.db.default.svc.cluster.local A: 10.244.1.4
            10-244-2-4.db.default.svc.cluster.local A: 10.244.2.4
            10-244-2-9.db.default.svc.cluster.local A: no such name
            empty.default.svc.cluster.local A: no such name
        "#]],
    );
}

#[test]
fn ports_have_service_records() {
    check(
        &[
            ("_http._tcp.web.default.svc.cluster.local", RecordType::SRV),
            ("_dns._udp.web.default.svc.cluster.local", RecordType::SRV),
            ("_http._udp.web.default.svc.cluster.local", RecordType::SRV),
            ("_http._tcp.web.default.svc.cluster.local", RecordType::A),
            ("_tcp.web.default.svc.cluster.local", RecordType::A),
            ("_sql._tcp.db.default.svc.cluster.local", RecordType::SRV),
        ],
        expect![[r#"
            _http._tcp.web.default.svc.cluster.local SRV: 0 100 80 web.default.svc.cluster.local. +10.96.0.7
            _dns._udp.web.default.svc.cluster.local SRV: 0 100 53 web.default.svc.cluster.local. +10.96.0.7
            _http._udp.web.default.svc.cluster.local SRV: no such name
            _http._tcp.web.default.svc.cluster.local A: no data
            _tcp.web.default.svc.cluster.local A: no data
            _sql._tcp.db.default.svc.cluster.local SRV: 0 50 5432 db-0.db.default.svc.cluster.local. 0 50 5432 10-244-2-4.db.default.svc.cluster.local. +10.244.1.4 +10.244.2.4
        "#]],
    );
}

#[test]
fn addresses_have_names_and_the_rest_is_not_ours() {
    check(
        &[
            ("7.0.96.10.in-addr.arpa", RecordType::PTR),
            ("4.1.244.10.in-addr.arpa", RecordType::PTR),
            ("3.1.244.10.in-addr.arpa", RecordType::PTR),
            ("example.com", RecordType::A),
            ("docs.default.svc.cluster.local", RecordType::A),
            ("docs.default.svc.cluster.local", RecordType::CNAME),
            ("10-244-1-3.default.pod.cluster.local", RecordType::A),
            ("10-244-1.default.pod.cluster.local", RecordType::A),
            ("10-244-1-3.nowhere.pod.cluster.local", RecordType::A),
            ("dns-version.cluster.local", RecordType::TXT),
        ],
        expect![[r#"
            7.0.96.10.in-addr.arpa PTR: web.default.svc.cluster.local.
            4.1.244.10.in-addr.arpa PTR: db-0.db.default.svc.cluster.local.
            3.1.244.10.in-addr.arpa PTR: not ours
            example.com A: not ours
            docs.default.svc.cluster.local A: docs.example.com. follow docs.example.com.
            docs.default.svc.cluster.local CNAME: docs.example.com.
            10-244-1-3.default.pod.cluster.local A: 10.244.1.3
            10-244-1.default.pod.cluster.local A: no such name
            10-244-1-3.nowhere.pod.cluster.local A: no such name
            dns-version.cluster.local TXT: 1.1.0
        "#]],
    );
}

#[test]
fn a_removed_service_takes_its_names_along() {
    let mut index = index();
    assert!(index.set(&ObjectKey::new("default", "web"), None));
    assert!(!index.set(&ObjectKey::new("default", "web"), None));
    assert_eq!(index.names_of("10.96.0.7".parse().unwrap()).count(), 0);
    assert_eq!(index.len(), 3);
}
