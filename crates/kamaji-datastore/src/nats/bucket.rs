//! A tenant's bucket, as kine makes it.
//!
//! kine (as of v0.17.5) asks for its bucket whenever it starts, and goes on only if what is there has the same settings to
//! the last one. A bucket that the Go operator made differs in its history and description; it is changed to what kine
//! asks for, which loses nothing.
//!
//! Sources: `pkg/drivers/nats/new.go` of kine, `prepareKeyValueConfig` of nats.go, `StreamConfig` of nats-server.

use serde_json::{Value, json};

/// Where kine keeps that it works, in every bucket: `/registry/health`, each part in base58.
const HEALTH: &str = "L8nZchjdPLL.tzCUBDXD";

/// Below it lie the subjects of buckets that no kine writes to. No tenant can have a bucket of this name.
const ASIDE: &str = "$KV._kamaji_moving";

/// The stream of a bucket.
pub(crate) fn stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// The bucket of a stream, if it is one's.
pub(crate) fn of_stream(stream: &str) -> Option<&str> {
    stream.strip_prefix("KV_")
}

/// A subject at which every bucket that a kine has used holds a message.
pub(crate) fn health(bucket: &str) -> String {
    format!("$KV.{bucket}.{HEALTH}")
}

/// What kine asks for.
pub(crate) fn wanted(bucket: &str) -> Value {
    json!({
        "name": stream(bucket),
        "description": "Holds kine key/values",
        "subjects": [format!("$KV.{bucket}.>")],
        "retention": "limits",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msgs_per_subject": 10,
        "max_msg_size": -1,
        "max_age": 0,
        "discard": "new",
        "storage": "file",
        "num_replicas": 1,
        "duplicate_window": 120_000_000_000_u64,
        "allow_direct": true,
        "allow_rollup_hdrs": true,
        "deny_delete": true,
    })
}

/// Where messages for a bucket are taken that is shut under this word, and kept as if they had come from kine.
pub(crate) fn aside(bucket: &str, word: &str) -> String {
    format!("{ASIDE}.{bucket}.{word}")
}

/// The same bucket, to which no kine writes: what it sends finds no stream. Only who knows the word can.
///
/// kine does not start with such a bucket; one that runs goes on reading. `subject_transform` is of NATS 2.10.
pub(crate) fn shut(bucket: &str, word: &str) -> Value {
    let (from, mut settings) = (format!("{}.>", aside(bucket, word)), wanted(bucket));
    settings["subject_transform"] = json!({ "src": from, "dest": format!("$KV.{bucket}.>") });
    settings["subjects"] = json!([from]);
    settings
}

/// The word under which a bucket is shut, if it is.
pub(crate) fn word<'a>(bucket: &str, settings: &'a Value) -> Option<&'a str> {
    let from = settings["subjects"].get(0)?.as_str()?;
    let word = from.strip_prefix(ASIDE)?.strip_prefix('.')?.strip_prefix(bucket)?.strip_prefix('.')?;
    let word = word.strip_suffix(".>")?;
    let same = ["subjects", "subject_transform"].iter().all(|key| settings[*key] == shut(bucket, word)[*key]);
    same.then_some(word)
}

/// What a bucket of kine has nothing of.
const UNWANTED: &[&str] = &[
    "allow_msg_ttl",
    "compression",
    "deny_purge",
    "discard_new_per_subject",
    "mirror",
    "mirror_direct",
    "no_ack",
    "placement",
    "republish",
    "sealed",
    "sources",
    "subject_delete_marker_ttl",
    "subject_transform",
];

/// What a stream is to us that has the name of a tenant's bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// What kine asks for.
    Kine,
    /// A bucket of that name with other settings.
    Bucket,
    /// What a migration has shut.
    Shut,
    /// No bucket, or a copy of another.
    Other,
}

impl Shape {
    /// Reads the settings of a stream, as the server tells them.
    pub(crate) fn of(bucket: &str, settings: &Value) -> Self {
        let wanted = wanted(bucket);
        let nothing = |key: &str| is_nothing(&settings[key]);
        if !nothing("mirror") || !nothing("sources") {
            return Self::Other;
        }
        if word(bucket, settings).is_some() {
            return Self::Shut;
        }
        if settings["subjects"] != wanted["subjects"] {
            return Self::Other;
        }
        // What belongs to the server itself begins so; kine says nothing of it, and nothing is compared.
        let unmarked = settings["metadata"]
            .as_object()
            .is_none_or(|metadata| metadata.keys().all(|key| key.starts_with("_nats.")));
        let all = wanted.as_object().into_iter().flatten();
        let same = all.clone().all(|(key, value)| settings[key] == *value)
            && UNWANTED.iter().all(|key| nothing(key));
        if same && unmarked { Self::Kine } else { Self::Bucket }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty() || text == "none",
        Value::Array(members) => members.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: Value) -> Value {
        let mut settings = wanted("x");
        settings[key] = value;
        settings
    }

    #[test]
    fn what_kine_asks_for_is_known_with_what_a_server_adds() {
        let mut settings = with("compression", json!("none"));
        for (key, value) in [
            ("sealed", json!(false)),
            ("consumer_limits", json!({})),
            ("metadata", json!({ "_nats.level": "0", "_nats.ver": "2.15.2" })),
            ("something_newer", json!("default")),
        ] {
            settings[key] = value;
        }
        assert_eq!(Shape::of("x", &settings), Shape::Kine);
    }

    #[test]
    fn every_other_setting_is_one_that_kine_would_refuse() {
        for (key, value) in [
            ("description", json!("")),
            ("max_msgs_per_subject", json!(1)),
            ("allow_direct", json!(false)),
            ("num_replicas", json!(3)),
            ("max_bytes", json!(1 << 20)),
            ("compression", json!("s2")),
            ("placement", json!({ "cluster": "c" })),
            ("metadata", json!({ "owner": "someone" })),
            ("storage", json!("memory")),
            ("allow_msg_ttl", json!(true)),
        ] {
            assert_eq!(Shape::of("x", &with(key, value)), Shape::Bucket, "{key}");
        }
    }

    #[test]
    fn what_a_migration_shuts_is_known_by_its_word() {
        let settings = shut("x", "0f");
        assert_eq!((Shape::of("x", &settings), word("x", &settings)), (Shape::Shut, Some("0f")));
        assert_eq!((Shape::of("y", &settings), word("y", &settings)), (Shape::Other, None));
        assert_eq!(word("x", &wanted("x")), None);
        let mut half = settings.clone();
        half["subject_transform"] = Value::Null;
        assert_eq!(Shape::of("x", &half), Shape::Other);
        assert_eq!(
            Shape::of("x", &{
                let mut copy = settings;
                copy["sources"] = json!([{ "name": "KV_y" }]);
                copy
            }),
            Shape::Other
        );
    }

    #[test]
    fn a_stream_of_other_subjects_or_of_anothers_data_is_no_bucket() {
        for (key, value) in [
            ("subjects", json!(["orders.>"])),
            ("subjects", json!(["$KV.x.>", "orders.>"])),
            ("subjects", Value::Null),
            ("mirror", json!({ "name": "KV_y" })),
            ("sources", json!([{ "name": "KV_y" }])),
        ] {
            assert_eq!(Shape::of("x", &with(key, value)), Shape::Other, "{key}");
        }
        assert_eq!(Shape::of("y", &wanted("x")), Shape::Other);
    }
}
