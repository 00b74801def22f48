//! What is filled in of a new TenantControlPlane, as the Go operator does.

use ipnet::IpNet;
use kamaji_api::tenant::dns_service_ip;
use serde_json::{Value, json};

use super::review::Answer;

/// The operations that fill in what the user has left out: the DataStore, the lists of ranges, and the addresses of cluster
/// DNS. What cannot be read is left as it is, for the reader to complain of.
pub(super) fn fill_in(object: &Value, default_data_store: Option<&str>) -> Answer {
    let mut patch = Vec::new();
    let mut add = |path: &str, value: Value| patch.push(json!({ "op": "add", "path": path, "value": value }));
    let Some(spec) = object.get("spec").filter(|spec| spec.is_object()) else { return Answer::allowed() };
    if let Some(default) = default_data_store.filter(|_| is_empty(spec.get("dataStore"))) {
        add("/spec/dataStore", default.into());
    }
    let Some(profile) = spec.get("networkProfile").filter(|profile| profile.is_object()) else {
        return Answer { patch, ..Answer::default() };
    };
    for (list, single) in [("serviceCidrs", "serviceCidr"), ("podCidrs", "podCidr")] {
        let single = profile.get(single).filter(|single| !is_empty(Some(single)));
        if let Some(single) = single.filter(|_| is_empty(profile.get(list))) {
            add(&format!("/spec/networkProfile/{list}"), json!([single]));
        }
    }
    if is_empty(profile.get("dnsServiceIPs"))
        && let Some(addresses) = dns_addresses(profile)
    {
        add("/spec/networkProfile/dnsServiceIPs", json!(addresses));
    }
    Answer { patch, ..Answer::default() }
}

/// One in each range of Service addresses, if all of them can be read.
fn dns_addresses(profile: &Value) -> Option<Vec<String>> {
    let list = profile.get("serviceCidrs").and_then(Value::as_array).filter(|list| !list.is_empty());
    let written: Vec<&Value> = match list {
        Some(list) => list.iter().collect(),
        None => vec![profile.get("serviceCidr")?],
    };
    let address = |range: &Value| Some(dns_service_ip(&range.as_str()?.parse::<IpNet>().ok()?).to_string());
    written.into_iter().map(address).collect()
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is added, by the last part of its path.
    fn filled(spec: &Value, default: Option<&str>) -> Value {
        let patch = fill_in(&json!({ "spec": spec }), default).patch;
        let name =
            |operation: &Value| operation["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        patch
            .iter()
            .map(|operation| (name(operation), operation["value"].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let plain =
            json!({ "networkProfile": { "serviceCidr": "10.96.0.0/16", "podCidr": "10.244.0.0/16" } });
        assert_eq!(
            filled(&plain, Some("default")),
            json!({
                "dataStore": "default",
                "serviceCidrs": ["10.96.0.0/16"],
                "podCidrs": ["10.244.0.0/16"],
                "dnsServiceIPs": ["10.96.0.10"],
            })
        );
        let both = json!({ "dataStore": "mine", "networkProfile": { "serviceCidrs": ["fd00::/108", "10.97.0.0/16"] } });
        assert_eq!(filled(&both, Some("default")), json!({ "dnsServiceIPs": ["fd00::10", "10.97.0.10"] }));
    }

    #[test]
    fn what_is_said_stays() {
        let said = json!({ "dataStore": "mine", "networkProfile": {
            "serviceCidr": "10.96.0.0/16", "serviceCidrs": ["10.1.0.0/16"],
            "podCidr": "10.244.0.0/16", "podCidrs": ["10.2.0.0/16"], "dnsServiceIPs": ["10.1.0.2"],
        } });
        assert_eq!(filled(&said, Some("default")), json!({}));
        assert_eq!(filled(&json!({}), None), json!({}));
        assert_eq!(filled(&json!({ "networkProfile": { "serviceCidrs": ["x"] } }), None), json!({}));
        assert_eq!(fill_in(&Value::Null, Some("default")), Answer::allowed());
    }
}
