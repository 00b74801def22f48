//! What happens to a tenant while we wait for it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;

use crate::kubectl::{Kubectl, has_condition};

/// Looks at one tenant again and again, and tells only what is new.
pub(super) struct Watch {
    namespace: String,
    name: String,
    facts: BTreeMap<String, String>,
    events: Option<BTreeSet<String>>,
}

/// What one look has found.
pub(super) struct Seen {
    /// One line for each thing that has changed.
    pub(super) news: Vec<String>,
    /// Whether the tenant's Ready condition is true for its present spec.
    pub(super) is_ready: bool,
}

impl Watch {
    /// A watch that has seen nothing yet.
    pub(super) fn of(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), facts: BTreeMap::new(), events: None }
    }

    /// Looks once.
    pub(super) fn look(&mut self, kubectl: &Kubectl) -> Result<Seen> {
        let kind = "tenantcontrolplanes.kamaji.clastix.io";
        let tenant = kubectl.get(&[kind, &self.name, "--namespace", &self.namespace])?;
        let events = kubectl.get(&["events", "--namespace", &self.namespace])?;
        let mut news = self.changed_facts(&tenant);
        news.extend(self.new_events(&events));
        Ok(Seen { news, is_ready: is_ready(&tenant) })
    }

    fn changed_facts(&mut self, tenant: &Value) -> Vec<String> {
        let facts = facts_of(tenant);
        let changed = facts.iter().filter(|(name, value)| self.facts.get(*name) != Some(value));
        let news = changed.map(|(name, value)| format!("{name}: {value}")).collect();
        self.facts = facts;
        news
    }

    /// The Events that the last look did not have; the first look takes those of earlier times as known.
    fn new_events(&mut self, list: &Value) -> Vec<String> {
        let events = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of_tenant = |event: &&Value| {
            let name = text(&event["involvedObject"]["name"]);
            name == self.name || name.starts_with(&format!("{}-", self.name))
        };
        let keyed: BTreeMap<String, String> =
            events.iter().filter(of_tenant).map(|event| (key_of(event), line_of(event))).collect();
        let keys = keyed.keys().cloned().collect();
        let Some(known) = self.events.replace(keys) else { return Vec::new() };
        keyed.into_iter().filter(|(key, _)| !known.contains(key)).map(|(_, line)| line).collect()
    }
}

/// Ready counts only when it speaks of the present spec, not of one before an edit.
fn is_ready(tenant: &Value) -> bool {
    let observed = tenant["status"]["observedGeneration"].as_i64();
    has_condition(tenant, "Ready")
        && (observed.is_none() || observed == tenant["metadata"]["generation"].as_i64())
}

fn facts_of(tenant: &Value) -> BTreeMap<String, String> {
    let status = &tenant["status"];
    let phase = status["kubernetesResources"]["version"]["status"].as_str();
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let conditions = conditions.iter().map(|condition| {
        let value = [&condition["status"], &condition["reason"], &condition["message"]].map(text);
        (format!("condition {}", text(&condition["type"])), value.join(" ").trim_end().to_owned())
    });
    phase.map(|phase| ("phase".to_owned(), phase.to_owned())).into_iter().chain(conditions).collect()
}

/// An Event that happens again has the same name and another count.
fn key_of(event: &Value) -> String {
    format!("{} {}", text(&event["metadata"]["uid"]), event["count"])
}

fn line_of(event: &Value) -> String {
    let object = &event["involvedObject"];
    let [kind, name, reason, message] =
        [&object["kind"], &object["name"], &event["reason"], &event["message"]].map(text);
    format!("event: {kind} {name}: {reason}: {}", message.trim_end())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn watch() -> Watch {
        Watch::of("tenants", "quickstart")
    }

    fn tenant(phase: &str, ready: &str, observed: i64) -> Value {
        json!({
            "metadata": { "generation": 2 },
            "status": {
                "observedGeneration": observed,
                "kubernetesResources": { "version": { "status": phase } },
                "conditions": [{ "type": "Ready", "status": ready, "reason": "Because", "message": "of this" }],
            },
        })
    }

    #[test]
    fn only_changes_are_news() {
        let mut watch = watch();
        let first = tenant("Provisioning", "False", 2);
        assert_eq!(
            watch.changed_facts(&first),
            ["condition Ready: False Because of this", "phase: Provisioning"]
        );
        assert!(watch.changed_facts(&first).is_empty());
        assert_eq!(watch.changed_facts(&tenant("Ready", "False", 2)), ["phase: Ready"]);
    }

    #[test]
    fn ready_is_about_the_present_spec() {
        assert!(is_ready(&tenant("Ready", "True", 2)));
        assert!(!is_ready(&tenant("Ready", "True", 1)));
        assert!(!is_ready(&tenant("Ready", "False", 2)));
    }

    #[test]
    fn events_of_this_tenant_are_told_once() {
        let event = |uid: &str, name: &str, count: u32| {
            json!({
                "metadata": { "uid": uid },
                "involvedObject": { "kind": "Pod", "name": name },
                "reason": "Started", "message": "it runs\n", "count": count,
            })
        };
        let mut watch = watch();
        let old = event("1", "quickstart", 1);
        assert!(watch.new_events(&json!({ "items": [old] })).is_empty());
        let all = json!({ "items": [old, event("2", "quickstart-5d", 1), event("3", "quickstarted", 1)] });
        assert_eq!(watch.new_events(&all), ["event: Pod quickstart-5d: Started: it runs"]);
        assert!(watch.new_events(&all).is_empty());
        assert_eq!(watch.new_events(&json!({ "items": [event("1", "quickstart", 2)] })).len(), 1);
    }
}
