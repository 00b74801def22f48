//! Whether two JSON values mean the same to an API server.

use serde_json::{Map, Value};

use crate::quantity;

/// Where in an object a value stands, as far as its meaning depends on it.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The field that holds the object which holds the value.
    parent: &'a str,
    /// The field that holds the value; for an item of a list, the field that holds the list.
    field: &'a str,
    /// Free text and names live here, so nothing is a quantity.
    is_text: bool,
}

/// Objects whose values are quantities.
const QUANTITY_MAPS: [&str; 8] =
    ["allocatable", "capacity", "hard", "limits", "overhead", "podFixed", "requests", "used"];
/// Fields that are quantities.
const QUANTITIES: [&str; 4] = ["averageValue", "divisor", "sizeLimit", "storage"];
/// Top-level fields without quantities.
const TEXTS: [&str; 4] = ["data", "binaryData", "stringData", "metadata"];
/// Maps from string to string or quantity, which the server drops when they are empty.
const MAPS: [&str; 7] =
    ["annotations", "labels", "limits", "matchLabels", "nodeSelector", "requests", "volumeAttributes"];

/// What the server fills in inside of something that it treats as one value: (holder, field, JSON).
///
/// Left out is as good as said, so a default that is there and was not asked for is no difference.
const DEFAULTS: [(&str, &str, &str); 20] = [
    ("backendRefs", "group", r#""""#),
    ("backendRefs", "kind", r#""Service""#),
    ("backendRefs", "weight", "1"),
    ("certificateRefs", "group", r#""""#),
    ("certificateRefs", "kind", r#""Secret""#),
    ("fieldRef", "apiVersion", r#""v1""#),
    ("parentRefs", "group", r#""gateway.networking.k8s.io""#),
    ("parentRefs", "kind", r#""Gateway""#),
    ("ports", "protocol", r#""TCP""#),
    ("resourceFieldRef", "divisor", r#""0""#),
    ("resourceRules", "scope", r#""*""#),
    ("roleRef", "apiGroup", r#""rbac.authorization.k8s.io""#),
    ("rules", "scope", r#""*""#),
    ("serviceAccountToken", "expirationSeconds", "3600"),
    ("spec", "volumeMode", r#""Filesystem""#),
    ("subjects", "apiGroup", r#""rbac.authorization.k8s.io""#),
    ("subjects", "apiGroup", r#""""#),
    ("volumeClaimTemplates", "apiVersion", r#""v1""#),
    ("volumeClaimTemplates", "kind", r#""PersistentVolumeClaim""#),
    ("volumeClaimTemplates", "status", r#"{"phase":"Pending"}"#),
];

impl<'a> Place<'a> {
    pub(crate) const ROOT: Self = Self { parent: "", field: "", is_text: false };

    /// The place of this field of the object that stands here.
    pub(crate) fn inside(self, field: &'a str) -> Self {
        let is_top = self.field.is_empty();
        Self { parent: self.field, field, is_text: self.is_text || is_top && TEXTS.contains(&field) }
    }

    fn is_quantity(self) -> bool {
        !self.is_text && (QUANTITY_MAPS.contains(&self.parent) || QUANTITIES.contains(&self.field))
    }

    fn is_default(self, field: &str, value: &Value) -> bool {
        DEFAULTS.iter().filter(|(holder, name, _)| *holder == self.field && *name == field).any(
            |(_, _, default)| serde_json::from_str::<Value>(default).is_ok_and(|default| default == *value),
        )
    }
}

/// Equal, or two spellings of one quantity.
pub(crate) fn same(left: &Value, right: &Value, place: Place<'_>) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => objects(left, right, place),
        (Value::Array(left), Value::Array(right)) => lists(left, right, place),
        (Value::String(left), Value::String(right)) => {
            left == right || place.is_quantity() && quantity::same(left, right)
        }
        (Value::Number(left), Value::Number(right)) => {
            left == right || (left.is_f64() || right.is_f64()) && left.as_f64() == right.as_f64()
        }
        _ => left == right,
    }
}

/// `live` holds what `said` says, and beyond it only defaults.
pub(crate) fn objects(said: &Map<String, Value>, live: &Map<String, Value>, place: Place<'_>) -> bool {
    let kept = said.iter().all(|(field, value)| match live.get(field) {
        Some(live) => same(value, live, place.inside(field)),
        None => is_nothing(value, field),
    });
    let extra = |(field, value): (&String, &Value)| {
        said.contains_key(field) || is_nothing(value, field) || place.is_default(field, value)
    };
    kept && live.iter().all(extra)
}

/// The same items in the same order.
pub(crate) fn lists(said: &[Value], live: &[Value], place: Place<'_>) -> bool {
    said.len() == live.len() && said.iter().zip(live).all(|(said, live)| same(said, live, place))
}

/// The server does not tell this from a field that is absent. (`emptyDir: {}` and `podSelector: {}` it does.)
fn is_nothing(value: &Value, field: &str) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() && MAPS.contains(&field),
        _ => false,
    }
}
