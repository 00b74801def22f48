//! Questions as the API server writes them, and answers as it reads them (`admission.k8s.io/v1`).

use kamaji_api::Complaints;
use serde::Deserialize;
use serde_json::{Value, json};

/// How long a warning may be: the API server cuts off what is longer than 256 characters.
const LONGEST_WARNING: usize = 250;
/// How many warnings there may be.
const MOST_WARNINGS: usize = 16;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// What is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Question {
    /// Names the question; the answer repeats it.
    pub(super) uid: String,
    pub(super) operation: Operation,
    #[serde(default)]
    user_info: User,
    /// What is to be stored; nothing if something is to be deleted.
    #[serde(default)]
    pub(super) object: Option<Value>,
    /// What is stored now; nothing if it is new.
    #[serde(default)]
    pub(super) old_object: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct Envelope {
    request: Option<Question>,
}

/// What the API server is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// Why the object is refused; empty if it is not.
    pub(super) complaints: Complaints,
    /// What whoever asked is told besides.
    pub(super) warnings: Vec<String>,
    /// What is filled in, as operations of a JSON patch (RFC 6902).
    pub(super) patch: Vec<Value>,
}

impl Question {
    /// Reads a question.
    ///
    /// # Errors
    /// When these bytes are no `AdmissionReview`, or one without a request: why not.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let envelope: Envelope = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        envelope.request.ok_or_else(|| "there is no request in it".to_owned())
    }

    /// Nothing is said about what the operator itself writes, about what is being deleted, and about changes of labels, owners
    /// and finalizers. The configuration of the webhooks says so too; an API server before 1.28 does not understand that.
    pub(super) fn is_none_of_ours(&self, operator: &str) -> bool {
        let new = |pointer: &str| self.object.as_ref()?.pointer(pointer);
        let old = |pointer: &str| self.old_object.as_ref()?.pointer(pointer);
        let stays = |pointer: &str| new(pointer) == old(pointer);
        self.user_info.username == operator
            || new("/metadata/deletionTimestamp").is_some()
            || (self.operation == Operation::Update && stays("/spec") && stays("/metadata/annotations"))
    }
}

impl Answer {
    /// The object may be stored as it is.
    pub(super) fn allowed() -> Self {
        Self::default()
    }

    /// The answer as the API server reads it.
    pub(super) fn write(&self, uid: &str) -> Value {
        let mut response = json!({ "uid": uid, "allowed": self.complaints.is_empty() });
        if !self.complaints.is_empty() {
            response["status"] =
                json!({ "code": 422, "reason": "Invalid", "message": self.complaints.to_string() });
        }
        if !self.warnings.is_empty() {
            let warnings = self.warnings.iter().take(MOST_WARNINGS).map(|text| shortened(text));
            response["warnings"] = warnings.collect();
        }
        if !self.patch.is_empty() {
            response["patchType"] = "JSONPatch".into();
            response["patch"] = in_base64(Value::from(self.patch.clone()).to_string().into_bytes());
        }
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
    }
}

fn shortened(text: &str) -> Value {
    let short: String = text.chars().take(LONGEST_WARNING).collect();
    // A line break would end the header that carries it.
    short.replace(['\n', '\r'], " ").into()
}

/// JSON has no bytes; Kubernetes writes them in base64.
fn in_base64(bytes: Vec<u8>) -> Value {
    serde_json::to_value(k8s_openapi::ByteString(bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question(operation: &str, object: &Value, old: &Value) -> Question {
        let body = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "1", "operation": operation, "userInfo": { "username": "somebody" },
                "object": object, "oldObject": old,
            },
        });
        Question::read(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn only_new_specs_and_annotations_are_looked_at() {
        let plain = json!({ "metadata": { "finalizers": ["f"] }, "spec": { "a": 1 } });
        let freed = json!({ "metadata": {}, "spec": { "a": 1 } });
        let gone = json!({ "metadata": { "deletionTimestamp": "2026-11-23T00:00:00Z" }, "spec": { "a": 2 } });
        let annotated = json!({ "metadata": { "annotations": { "a": "b" } }, "spec": { "a": 1 } });
        let changed = json!({ "metadata": {}, "spec": { "a": 2 } });
        for (operation, object, old, ours) in [
            ("CREATE", &plain, &Value::Null, true),
            ("UPDATE", &changed, &plain, true),
            ("UPDATE", &annotated, &plain, true),
            ("UPDATE", &freed, &plain, false),
            ("UPDATE", &gone, &plain, false),
            ("UPDATE", &plain, &plain, false),
            ("DELETE", &Value::Null, &plain, true),
        ] {
            let question = question(operation, object, old);
            assert_eq!(!question.is_none_of_ours("operator"), ours, "{operation} {object} {old}");
            assert!(question.is_none_of_ours("somebody"));
        }
    }

    #[test]
    fn answers_are_written_as_the_api_server_reads_them() {
        assert_eq!(Answer::allowed().write("7")["response"], json!({ "uid": "7", "allowed": true }));
        let mut answer = Answer { warnings: vec!["ä\n".repeat(300)], ..Answer::default() };
        answer.complaints.add("spec.a", "is wrong");
        answer.patch.push(json!({ "op": "add", "path": "/a", "value": 1 }));
        let response = &answer.write("7")["response"];
        assert_eq!(response["allowed"], false);
        assert_eq!(response["status"]["message"], "spec.a: is wrong");
        assert_eq!(response["patch"], "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2EiLCJ2YWx1ZSI6MX1d");
        let warning = response["warnings"][0].as_str().unwrap();
        assert!(warning.chars().count() <= 256 && !warning.contains('\n'));
    }

    #[test]
    fn what_is_no_question_is_told() {
        for body in
            ["", "{}", "[]", "{\"request\":{}}", "{\"request\":{\"uid\":\"1\",\"operation\":\"NONE\"}}"]
        {
            assert!(Question::read(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Question::read("[".repeat(100_000).as_bytes()).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            Just("spec".to_owned()),
            Just("metadata".to_owned()),
            Just("annotations".to_owned()),
            ".{0,6}"
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..4)
                    .prop_map(|fields| Value::from(fields.into_iter().collect::<serde_json::Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = Question::read(&bytes);
        }

        #[test]
        fn every_question_has_an_answer(object in any_json(), old in any_json(), update in any::<bool>()) {
            let operation = if update { "UPDATE" } else { "CREATE" };
            let question = question(operation, &object, &old);
            let _ = question.is_none_of_ours("operator");
            let answer = super::super::defaults::fill_in(question.object.as_ref().unwrap_or(&Value::Null), Some("default"));
            let _ = answer.write(&question.uid);
        }
    }
}
