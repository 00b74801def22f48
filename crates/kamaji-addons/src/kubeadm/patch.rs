//! JSON patches (RFC 6902) that a user wrote, carried out strictly and within bounds.
//!
//! Bounds, because thirty copies of the document into itself would fill any memory, and deep nesting any stack.

use json_patch::jsonptr::PointerBuf;
use json_patch::{
    AddOperation, CopyOperation, MoveOperation, PatchErrorKind, PatchOperation, RemoveOperation,
    ReplaceOperation, TestOperation,
};
use kamaji_api::v1alpha1::{JsonPatchOperation, JsonPatchVerb};
use serde_json::Value;

use super::error::{Error, PatchProblem};

/// Most patches that are carried out; the kubelet has about 120 fields.
const MOST_PATCHES: usize = 1000;
/// Most that all patches together may carry, in bytes of JSON, roughly.
const MOST_CARRIED: usize = 256 * 1024;
/// Deepest place that a patch may reach.
const DEEPEST: usize = 64;
/// How much of a path is shown in an error, in characters.
const SHOWN_PATH: usize = 100;

/// The document with these patches carried out, in their order, up to the first that cannot be.
pub(super) fn apply(mut document: Value, patches: &[JsonPatchOperation]) -> Result<Value, Error> {
    if patches.len() > MOST_PATCHES {
        return Err(Error::Patches(PatchProblem::TooMany));
    }
    let mut left = MOST_CARRIED;
    for (index, patch) in patches.iter().enumerate() {
        step(&mut document, patch, &mut left).map_err(|problem| Error::Patch {
            index,
            verb: verb(patch.op),
            path: patch.path.chars().take(SHOWN_PATH).collect(),
            problem,
        })?;
    }
    Ok(document)
}

fn step(document: &mut Value, patch: &JsonPatchOperation, left: &mut usize) -> Result<(), PatchProblem> {
    let operation = read(patch)?;
    if let Some(carried) = carried(document, &operation) {
        let size = Size::of(carried, operation.path().count())?;
        *left = left.checked_sub(size.bytes).ok_or(PatchProblem::TooMuch)?;
    }
    json_patch::patch_unsafe(document, std::slice::from_ref(&operation))
        .map_err(|error| problem(patch.op, &error.kind))
}

fn read(written: &JsonPatchOperation) -> Result<PatchOperation, PatchProblem> {
    let path = PointerBuf::parse(written.path.clone()).map_err(|_| PatchProblem::PathMalformed)?;
    let from = || {
        let from = written.from.clone().ok_or(PatchProblem::FromMissing)?;
        PointerBuf::parse(from).map_err(|_| PatchProblem::FromMalformed)
    };
    // The API server leaves out what is null, so that cannot be told from what was never written.
    let value = || written.value.clone().ok_or(PatchProblem::ValueMissing);
    Ok(match written.op {
        JsonPatchVerb::Add => PatchOperation::Add(AddOperation { path, value: value()? }),
        JsonPatchVerb::Remove => PatchOperation::Remove(RemoveOperation { path }),
        JsonPatchVerb::Replace => PatchOperation::Replace(ReplaceOperation { path, value: value()? }),
        JsonPatchVerb::Move => PatchOperation::Move(MoveOperation { from: from()?, path }),
        JsonPatchVerb::Copy => PatchOperation::Copy(CopyOperation { from: from()?, path }),
        JsonPatchVerb::Test => PatchOperation::Test(TestOperation { path, value: value()? }),
    })
}

/// The value that an operation would put somewhere.
fn carried<'a>(document: &'a Value, operation: &'a PatchOperation) -> Option<&'a Value> {
    match operation {
        PatchOperation::Add(add) => Some(&add.value),
        PatchOperation::Replace(replace) => Some(&replace.value),
        PatchOperation::Copy(copy) => document.pointer(copy.from.as_str()),
        PatchOperation::Move(moved) => document.pointer(moved.from.as_str()),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => None,
    }
}

/// How much a value is.
struct Size {
    bytes: usize,
}

impl Size {
    /// Of a value that stands at this depth.
    fn of(value: &Value, depth: usize) -> Result<Self, PatchProblem> {
        if depth > DEEPEST {
            return Err(PatchProblem::TooDeep);
        }
        let mut bytes = match value {
            Value::String(text) => text.len() + 2,
            _ => 8,
        };
        match value {
            Value::Array(items) => {
                for item in items {
                    bytes += Self::of(item, depth + 1)?.bytes;
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    bytes += name.len() + Self::of(value, depth + 1)?.bytes;
                }
            }
            _ => {}
        }
        Ok(Self { bytes })
    }
}

fn problem(verb: JsonPatchVerb, kind: &PatchErrorKind) -> PatchProblem {
    match (kind, verb) {
        (PatchErrorKind::TestFailed, _) => PatchProblem::OtherValue,
        (PatchErrorKind::InvalidFromPointer, _) => PatchProblem::NothingToTake,
        (PatchErrorKind::CannotMoveInsideItself, _) => PatchProblem::IntoItself,
        (_, JsonPatchVerb::Add | JsonPatchVerb::Copy | JsonPatchVerb::Move) => PatchProblem::NoParent,
        (_, JsonPatchVerb::Remove | JsonPatchVerb::Replace | JsonPatchVerb::Test) => {
            PatchProblem::NothingThere
        }
    }
}

fn verb(verb: JsonPatchVerb) -> &'static str {
    match verb {
        JsonPatchVerb::Add => "add",
        JsonPatchVerb::Remove => "remove",
        JsonPatchVerb::Replace => "replace",
        JsonPatchVerb::Move => "move",
        JsonPatchVerb::Copy => "copy",
        JsonPatchVerb::Test => "test",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::json;

    use super::*;

    fn patches(list: Value) -> Vec<JsonPatchOperation> {
        serde_json::from_value(list).unwrap()
    }

    fn document() -> Value {
        json!({ "a": 1, "list": ["x", "y"], "map": { "k/1": true }, "none": null })
    }

    fn applied(list: Value) -> Value {
        apply(document(), &patches(list)).unwrap()
    }

    /// Index and problem of the patch that cannot be carried out.
    fn refused(list: Value) -> (usize, PatchProblem) {
        match apply(document(), &patches(list)).unwrap_err() {
            Error::Patch { index, problem, .. } => (index, problem),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn each_verb_does_what_the_standard_says() {
        assert_eq!(
            applied(json!([{ "op": "add", "path": "/b", "value": { "c": [] } }]))["b"],
            json!({ "c": [] })
        );
        assert_eq!(applied(json!([{ "op": "add", "path": "/a", "value": 2 }]))["a"], 2);
        assert_eq!(
            applied(json!([{ "op": "add", "path": "/list/1", "value": "z" }]))["list"],
            json!(["x", "z", "y"])
        );
        assert_eq!(
            applied(json!([{ "op": "add", "path": "/list/-", "value": "z" }]))["list"],
            json!(["x", "y", "z"])
        );
        assert_eq!(applied(json!([{ "op": "remove", "path": "/map/k~11" }]))["map"], json!({}));
        assert_eq!(
            applied(json!([{ "op": "replace", "path": "/list/0", "value": 3 }]))["list"],
            json!([3, "y"])
        );
        assert_eq!(applied(json!([{ "op": "move", "from": "/a", "path": "/map/a" }])).get("a"), None);
        assert_eq!(
            applied(json!([{ "op": "copy", "from": "/list", "path": "/map/l" }]))["map"]["l"],
            json!(["x", "y"])
        );
        assert_eq!(applied(json!([{ "op": "test", "path": "/list", "value": ["x", "y"] }])), document());
        assert_eq!(applied(json!([{ "op": "replace", "path": "", "value": [] }])), json!([]));
    }

    #[test]
    fn names_may_be_of_any_script() {
        let added = applied(json!([{ "op": "add", "path": "/größe~0", "value": "☃" }]));
        assert_eq!(added["größe~"], "☃");
    }

    #[test]
    fn the_first_that_cannot_be_carried_out_is_named() {
        use PatchProblem as P;
        let good = json!({ "op": "remove", "path": "/a" });
        for (patch, expected) in [
            (json!({ "op": "replace", "path": "/b", "value": 1 }), P::NothingThere),
            (json!({ "op": "remove", "path": "/a" }), P::NothingThere),
            (json!({ "op": "remove", "path": "" }), P::NothingThere),
            (json!({ "op": "remove", "path": "/list/-" }), P::NothingThere),
            (json!({ "op": "replace", "path": "/list/2", "value": 1 }), P::NothingThere),
            (json!({ "op": "replace", "path": "/list/01", "value": 1 }), P::NothingThere),
            (json!({ "op": "test", "path": "/b", "value": 1 }), P::NothingThere),
            (json!({ "op": "test", "path": "/list", "value": 1 }), P::OtherValue),
            (json!({ "op": "add", "path": "/b/c", "value": 1 }), P::NoParent),
            (json!({ "op": "add", "path": "/list/3", "value": 1 }), P::NoParent),
            (json!({ "op": "add", "path": "/list/x", "value": 1 }), P::NoParent),
            (json!({ "op": "add", "path": "/none/x", "value": 1 }), P::NoParent),
            (json!({ "op": "add", "path": "/list/99999999999999999999999", "value": 1 }), P::NoParent),
            (json!({ "op": "add", "path": "b", "value": 1 }), P::PathMalformed),
            (json!({ "op": "add", "path": "/b~2", "value": 1 }), P::PathMalformed),
            (json!({ "op": "add", "path": "/b" }), P::ValueMissing),
            (json!({ "op": "replace", "path": "/none", "value": null }), P::ValueMissing),
            (json!({ "op": "copy", "path": "/b" }), P::FromMissing),
            (json!({ "op": "copy", "path": "/b", "from": "list" }), P::FromMalformed),
            (json!({ "op": "copy", "path": "/b", "from": "/c" }), P::NothingToTake),
            (json!({ "op": "move", "path": "/b", "from": "/c" }), P::NothingToTake),
            (json!({ "op": "move", "path": "/b", "from": "" }), P::IntoItself),
            (json!({ "op": "move", "path": "/map/x/y", "from": "/map" }), P::IntoItself),
        ] {
            assert_eq!(refused(json!([good, patch])), (1, expected), "{patch}");
        }
    }

    #[test]
    fn the_message_says_which_and_what_to_do() {
        let error =
            apply(document(), &patches(json!([{ "op": "replace", "path": "/b", "value": 1 }]))).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"apply spec.kubernetes.kubelet.configurationJSONPatches[0], replace "/b""#
        );
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.starts_with("there is nothing at path: use add"), "{cause}");
        let long = "/ö".repeat(1_000_000);
        let error = apply(document(), &patches(json!([{ "op": "remove", "path": long }]))).unwrap_err();
        assert!(error.to_string().len() < 300);
    }

    #[test]
    fn copies_of_copies_do_not_fill_the_memory() {
        let double = json!({ "op": "copy", "from": "", "path": "/twice" });
        let (index, problem) = refused(Value::Array(vec![double; 1000]));
        assert!(index < 64, "{index}");
        assert!(matches!(problem, PatchProblem::TooMuch | PatchProblem::TooDeep));
        let wide = json!({ "op": "copy", "from": "/list", "path": "/list/-" });
        assert!(refused(Value::Array(vec![wide; 1000])).0 < 30);
    }

    #[test]
    fn nothing_nests_until_the_stack_overflows() {
        let wrap = [
            json!({ "op": "add", "path": "/outer", "value": {} }),
            json!({ "op": "move", "from": "/map", "path": "/outer/map" }),
            json!({ "op": "move", "from": "/outer", "path": "/map" }),
        ];
        let (_, problem) = refused(wrap.into_iter().cycle().take(999).collect());
        assert_eq!(problem, PatchProblem::TooDeep);
        let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(
            refused(json!([{ "op": "add", "path": "/deep", "value": deep }])),
            (0, PatchProblem::TooDeep)
        );
    }

    #[test]
    fn there_is_an_end_to_patience() {
        let harmless = json!({ "op": "test", "path": "/a", "value": 1 });
        let many = patches(Value::Array(vec![harmless; MOST_PATCHES + 1]));
        assert!(matches!(apply(document(), &many), Err(Error::Patches(PatchProblem::TooMany))));
        let large = json!([{ "op": "add", "path": "/a", "value": "x".repeat(MOST_CARRIED) }]);
        assert_eq!(refused(large), (0, PatchProblem::TooMuch));
    }

    /// Patches that fit the document, those that nearly do, and noise.
    fn any_patch() -> impl Strategy<Value = JsonPatchOperation> {
        let verb = select(vec!["add", "remove", "replace", "move", "copy", "test"]);
        let place = || {
            let near = select(vec![
                "",
                "/",
                "/a",
                "/list",
                "/list/0",
                "/list/-",
                "/map",
                "/map/k~11",
                "/map/map",
                "/none",
                "/~",
                "x",
            ]);
            prop_oneof![4 => near.prop_map(str::to_owned), 1 => "(/[a-z0-9~-]{0,3}){0,4}".prop_map(String::from)]
        };
        let value =
            select(vec![json!(null), json!(1), json!("x"), json!([]), json!({}), json!({ "map": [1] })]);
        (verb, place(), proptest::option::of(place()), value).prop_map(|(verb, path, from, value)| {
            let patch = json!({ "op": verb, "path": path, "from": from, "value": value });
            serde_json::from_value(patch).unwrap()
        })
    }

    proptest! {
        #[test]
        fn no_patches_panic_or_leave_a_giant(list in proptest::collection::vec(any_patch(), 0..60)) {
            if let Ok(left) = apply(document(), &list) {
                prop_assert!(left.to_string().len() < 2 * MOST_CARRIED);
            }
        }
    }
}
