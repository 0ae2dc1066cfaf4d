//! A service, with the endpoints behind each of its ports.

use serde_json::Value;

use super::page::{Page, joined_labels, list, number, scalar, text};

const ENDPOINTS_SHOWN: usize = 3;

pub fn describe(service: &Value, slices: &[Value], page: &mut Page) {
    let (spec, status) = (&service["spec"], &service["status"]);
    let joined = |value: &Value| list(value).iter().map(text).collect::<Vec<_>>().join(",");
    let joined_or_none = |value: &Value| Some(joined(value)).filter(|text| !text.is_empty()).unwrap_or("<none>".into());
    page.head(service);
    page.field(0, "Selector", joined_labels(&spec["selector"]));
    page.field(0, "Type", text(&spec["type"]));
    page.field_if(0, "IP Family Policy", &spec["ipFamilyPolicy"]);
    page.field(0, "IP Families", joined_or_none(&spec["ipFamilies"]));
    page.field(0, "IP", text(&spec["clusterIP"]));
    page.field(0, "IPs", joined_or_none(&spec["clusterIPs"]));
    if !list(&spec["externalIPs"]).is_empty() {
        page.field(0, "External IPs", joined(&spec["externalIPs"]));
    }
    page.field_if(0, "Desired LoadBalancer IP", &spec["loadBalancerIP"]);
    page.field_if(0, "External Name", &spec["externalName"]);
    let ingress = list(&status["loadBalancer"]["ingress"]);
    if !ingress.is_empty() {
        page.field(0, "LoadBalancer Ingress", ingress.iter().map(ingress_text).collect::<Vec<_>>().join(", "));
    }
    list(&spec["ports"]).iter().for_each(|port| describe_port(port, slices, page));
    page.field(0, "Session Affinity", text(&spec["sessionAffinity"]));
    page.field_if(0, "External Traffic Policy", &spec["externalTrafficPolicy"]);
    page.field_if(0, "Internal Traffic Policy", &spec["internalTrafficPolicy"]);
    if number(&spec["healthCheckNodePort"]) != 0 {
        page.field(0, "HealthCheck NodePort", number(&spec["healthCheckNodePort"]).to_string());
    }
    if !list(&spec["loadBalancerSourceRanges"]).is_empty() {
        page.field(0, "LoadBalancer Source Ranges", joined(&spec["loadBalancerSourceRanges"]));
    }
    page.field_if(0, "Traffic Distribution", &spec["trafficDistribution"]);
}

fn ingress_text(ingress: &Value) -> String {
    match (text(&ingress["ip"]), text(&ingress["ipMode"])) {
        ("", _) => text(&ingress["hostname"]).to_owned(),
        (ip, "") => ip.to_owned(),
        (ip, mode) => format!("{ip} ({mode})"),
    }
}

fn describe_port(port: &Value, slices: &[Value], page: &mut Page) {
    let name = Some(text(&port["name"])).filter(|name| !name.is_empty()).unwrap_or("<unset>");
    let protocol = text(&port["protocol"]);
    page.field(0, "Port", format!("{name}\t{}/{protocol}", number(&port["port"])));
    let target = if port["targetPort"].is_null() { "0".into() } else { scalar(&port["targetPort"]) };
    page.field(0, "TargetPort", format!("{target}/{protocol}"));
    page.field_if(0, "AppProtocol", &port["appProtocol"]);
    if number(&port["nodePort"]) != 0 {
        page.field(0, "NodePort", format!("{name}\t{}/{protocol}", number(&port["nodePort"])));
    }
    page.field(0, "Endpoints", endpoints(slices, text(&port["name"])));
}

/// The first few ready endpoints of a port, and how many more there are.
fn endpoints(slices: &[Value], port: &str) -> String {
    if slices.is_empty() {
        return "<none>".into();
    }
    let mut all = Vec::new();
    for slice in slices {
        let ready = |endpoint: &&Value| endpoint["conditions"]["ready"] != false;
        let address = |endpoint: &Value| text(&endpoint["addresses"][0]).to_owned();
        let addresses: Vec<String> = list(&slice["endpoints"]).iter().filter(ready).map(address).collect();
        if list(&slice["ports"]).is_empty() {
            all.extend(addresses);
            continue;
        }
        for found in list(&slice["ports"]).iter().filter(|found| text(&found["name"]) == port) {
            let number = number(&found["port"]);
            all.extend(addresses.iter().map(|address| match address.contains(':') {
                true => format!("[{address}]:{number}"),
                false => format!("{address}:{number}"),
            }));
        }
    }
    let shown = all.iter().take(ENDPOINTS_SHOWN).cloned().collect::<Vec<_>>().join(",");
    match all.len().saturating_sub(ENDPOINTS_SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn a_service_is_described() {
        let service = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "type": "NodePort", "clusterIP": "10.96.7.1", "clusterIPs": ["10.96.7.1"], "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack", "selector": {"app": "web"}, "sessionAffinity": "None",
                "ports": [{"port": 80, "targetPort": 8080, "nodePort": 32592, "protocol": "TCP"}],
                "externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster",
            },
        });
        let endpoint =
            |last: u8| json!({"addresses": [format!("10.244.1.{last}")], "conditions": {"ready": last != 9}});
        let slice = json!({
            "ports": [{"name": "", "port": 8080}],
            "endpoints": [endpoint(1), endpoint(9), endpoint(2), endpoint(3), endpoint(4)],
        });
        let mut page = Page::new(0);
        describe(&service, &[slice], &mut page);
        expect![[r#"
            Name:                     web
            Namespace:                default
            Labels:                   <none>
            Annotations:              <none>
            Selector:                 app=web
            Type:                     NodePort
            IP Family Policy:         SingleStack
            IP Families:              IPv4
            IP:                       10.96.7.1
            IPs:                      10.96.7.1
            Port:                     <unset>  80/TCP
            TargetPort:               8080/TCP
            NodePort:                 <unset>  32592/TCP
            Endpoints:                10.244.1.1:8080,10.244.1.2:8080,10.244.1.3:8080 + 1 more...
            Session Affinity:         None
            External Traffic Policy:  Cluster
            Internal Traffic Policy:  Cluster
        "#]]
        .assert_eq(&page.finish());
    }
}
