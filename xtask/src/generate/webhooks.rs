//! What the chart tells the API server about admission: webhooks and a policy, with the places in which Helm fills in names.

use kamaji_api::admission::{Asked, SERVICE_PORT, generator_policy, mutating, validating};
use serde::Serialize;
use serde_json::json;

use super::{Generated, crds::HEADER, yaml};

/// Who is asked, in the words of Helm. Quotation marks would end the string that a name stands in.
fn asked() -> Asked {
    Asked {
        namespace: "{{ .Release.Namespace }}".to_owned(),
        service: "{{ include `kamaji.fullname` . }}-webhook-service".to_owned(),
        port: SERVICE_PORT,
        operator:
            "system:serviceaccount:{{ .Release.Namespace }}:{{ include `kamaji.serviceAccountName` . }}"
                .to_owned(),
        failure_policy: "{{ .Values.webhook.failurePolicy }}".to_owned(),
    }
}

/// The parts of objects that the chart's templates put metadata around.
pub(super) fn files() -> Vec<Generated> {
    let (policy, binding) = generator_policy();
    vec![
        part("mutating-webhooks", "webhooks", &mutating(&asked())),
        part("validating-webhooks", "webhooks", &validating(&asked())),
        part("generator-policy", "spec", &policy.spec),
        part("generator-policy-binding", "spec", &binding.spec),
    ]
}

fn part(name: &str, field: &str, value: &impl Serialize) -> Generated {
    Generated {
        path: format!("charts/kamaji/generated/{name}.yaml"),
        content: format!("{HEADER}{}", yaml::document(&json!({ field: value }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_helm_fills_in_ends_no_string() {
        for file in files() {
            for (_, rest) in file.content.match_indices("{{").map(|(at, _)| file.content.split_at(at)) {
                let action = rest.split_once("}}").unwrap().0;
                assert!(!action.contains(['"', '\'', '\\']), "{}: {action}", file.path);
            }
        }
    }
}
