//! Annotations that nobody would obey as they are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kamaji_api::labels;

use crate::cli::duration;

type Check = fn(&str) -> Option<String>;

/// Annotations of a TenantControlPlane that must be of a certain form.
const TENANT: &[(&str, Check)] = &[
    (labels::PAUSED_UNTIL, time),
    (labels::MIGRATION_TIMEOUT, length),
    (labels::MIGRATION_RETENTION, length),
    (labels::CLEANUP_PRIOR_MIGRATION, yes_or_no),
    (labels::UPDATE_KINE, yes_or_no),
    (labels::USE_EXISTING_CA, yes_or_no),
    (labels::KUBECONFIG_SECRET_KEY, key),
];

/// What to tell of annotations that cannot be obeyed as they are.
pub(super) fn warnings(annotations: Option<&BTreeMap<String, String>>) -> Vec<String> {
    let Some(annotations) = annotations else { return Vec::new() };
    let warning = |(name, check): &(&str, Check)| {
        let value = annotations.get(*name)?;
        check(value).map(|why| format!("the annotation {name}={value:?} cannot be obeyed: {why}"))
    };
    TENANT.iter().filter_map(warning).collect()
}

fn time(text: &str) -> Option<String> {
    let read = text.parse::<Timestamp>();
    read.is_err()
        .then(|| "write a time such as 2027-01-01T00:00:00Z; the pause has no end until then".to_owned())
}

fn length(text: &str) -> Option<String> {
    duration(text).err()
}

fn yes_or_no(text: &str) -> Option<String> {
    (!matches!(text, "true" | "false")).then(|| "write true or false".to_owned())
}

fn key(text: &str) -> Option<String> {
    let known = ["admin.conf", "admin.svc", "super-admin.conf", "super-admin.svc"];
    (!known.contains(&text)).then(|| format!("write one of {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Vec<String> {
        warnings(Some(&BTreeMap::from([(name.to_owned(), value.to_owned())])))
    }

    #[test]
    fn what_nobody_would_obey_is_told() {
        for (name, value) in [
            (labels::PAUSED_UNTIL, "tomorrow"),
            (labels::MIGRATION_TIMEOUT, "-1s"),
            (labels::MIGRATION_RETENTION, "7d"),
            (labels::CLEANUP_PRIOR_MIGRATION, "yes"),
            (labels::KUBECONFIG_SECRET_KEY, "../../x"),
        ] {
            let [warning] = of(name, value).try_into().unwrap();
            assert!(warning.contains(name) && warning.contains("cannot be obeyed"), "{warning}");
        }
        for (name, value) in [
            (labels::PAUSED_UNTIL, "2027-01-01T00:00:00Z"),
            (labels::MIGRATION_TIMEOUT, "5m"),
            (labels::UPDATE_KINE, "true"),
            (labels::KUBECONFIG_SECRET_KEY, "super-admin.svc"),
            (labels::PAUSED, "whatever"),
            ("example.com/other", "-1s"),
        ] {
            assert!(of(name, value).is_empty(), "{name}={value}");
        }
    }
}
