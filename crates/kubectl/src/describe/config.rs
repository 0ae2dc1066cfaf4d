//! Namespaces, config maps, secrets, service accounts.

use apimachinery::Quantity;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::page::{Page, date, list, map, text};

pub fn config_map(object: &Value, page: &mut Page) {
    page.head(object);
    page.line(0, "\nData\n====");
    for (key, value) in map(&object["data"]) {
        page.line(0, format!("{key}:\n----\n{}\n", text(value)));
    }
    page.line(0, "\nBinaryData\n====");
    for (key, value) in map(&object["binaryData"]) {
        page.line(0, format!("{key}: {} bytes", decoded(value).len()));
    }
    page.line(0, "");
}

pub fn secret(object: &Value, page: &mut Page) {
    page.head(object);
    page.line(0, format!("\nType:\t{}", text(&object["type"])));
    page.line(0, "\nData\n====");
    for (key, value) in map(&object["data"]) {
        let bytes = decoded(value);
        if key == "token" && object["type"] == "kubernetes.io/service-account-token" {
            page.field(0, key, String::from_utf8_lossy(&bytes));
        } else {
            page.field(0, key, format!("{} bytes", bytes.len()));
        }
    }
}

fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(text(value)).unwrap_or_default()
}

pub fn service_account(object: &Value, page: &mut Page) {
    page.head(object);
    let secrets: Vec<String> =
        list(&object["imagePullSecrets"]).iter().map(|secret| text(&secret["name"]).to_owned()).collect();
    if secrets.is_empty() {
        page.line(0, "Image pull secrets:\t<none>");
    }
    for (index, name) in secrets.iter().enumerate() {
        let header = if index == 0 { "Image pull secrets:" } else { "                   " };
        page.line(0, format!("{header}\t{name}"));
    }
}

pub fn namespace(object: &Value, quotas: &[Value], ranges: &[Value], page: &mut Page) {
    let metadata = &object["metadata"];
    page.field(0, "Name", text(&metadata["name"]));
    page.labels("Labels", &metadata["labels"]);
    page.annotations("Annotations", &metadata["annotations"]);
    page.field(0, "Status", text(&object["status"]["phase"]));
    let conditions = list(&object["status"]["conditions"]);
    if !conditions.is_empty() {
        page.line(0, "Conditions:");
        page.line(1, "Type\tStatus\tLastTransitionTime\tReason\tMessage");
        page.line(1, "----\t------\t------------------\t------\t-------");
    }
    for condition in conditions {
        let field = |name: &str| text(&condition[name]).to_owned();
        let since = date(&condition["lastTransitionTime"]);
        page.line(
            1,
            format!("{}\t{}\t{since}\t{}\t{}", field("type"), field("status"), field("reason"), field("message")),
        );
    }
    page.line(0, "");
    resource_quotas(quotas, page);
    page.line(0, "");
    limit_ranges(ranges, page);
}

fn resource_quotas(quotas: &[Value], page: &mut Page) {
    if quotas.is_empty() {
        return page.line(0, "No resource quota.");
    }
    page.line(0, "Resource Quotas");
    for quota in quotas {
        page.field(1, "Name", text(&quota["metadata"]["name"]));
        page.line(1, "Resource\tUsed\tHard");
        page.line(1, "--------\t---\t---");
        for (resource, hard) in map(&quota["status"]["hard"]) {
            let used = Quantity::of(&quota["status"]["used"][resource]);
            page.line(1, format!("{resource}\t{used}\t{}", Quantity::of(hard)));
        }
    }
}

fn limit_ranges(ranges: &[Value], page: &mut Page) {
    if ranges.is_empty() {
        return page.line(0, "No LimitRange resource.");
    }
    page.line(0, "Resource Limits");
    page.line(0, " Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio");
    page.line(0, " ----\t--------\t---\t---\t---------------\t-------------\t-----------------------");
    let columns = ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"];
    for limit in ranges.iter().flat_map(|range| list(&range["spec"]["limits"])) {
        let resources: std::collections::BTreeSet<&String> =
            columns.iter().flat_map(|column| map(&limit[*column])).map(|(resource, _)| resource).collect();
        for resource in resources {
            let cell = |column: &&str| match &limit[*column][resource] {
                Value::Null => "-".to_owned(),
                quantity => Quantity::of(quantity).to_string(),
            };
            let cells: Vec<String> = columns.iter().map(cell).collect();
            page.line(0, format!(" {}\t{resource}\t{}", text(&limit["type"]), cells.join("\t")));
        }
    }
}
