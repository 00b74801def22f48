//! Whether an apply would change anything, told from the object alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::{ApiResource, DynamicObject},
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    Difference,
    difference::{NEVER_APPLIED, NOT_OWNED, NOT_SAID, ORDER, OTHER_OBJECT, UNKNOWN, VALUE},
    exchange,
    owned::{Items, Owned, Part, applied},
    same::{self, Place},
};

/// Fields that apply never owns: they are the object's address and what the server keeps about it.
const UNOWNED: [&str; 9] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "selfLink",
    "managedFields",
];

type Comparison = Result<(), Difference>;

/// Goes on if this is so; otherwise the objects differ.
macro_rules! ensure {
    ($is_so:expr, $otherwise:expr) => {
        if !$is_so {
            return Err(Difference::new($otherwise));
        }
    };
}

/// True when [`Cluster::apply`](crate::Cluster::apply) of `desired` by `manager` would change nothing in `live`.
///
/// Then every field of `desired` stands in `live` with the same meaning *and* belongs to `manager`, and `manager`
/// owns nothing that `desired` does not say, so that a foreign edit, a foreign claim and something we stopped saying
/// are all noticed. What others added, and what the server filled in, does not count.
///
/// The answer is exact where it says true. It may be false for no reason (which costs a request and no harm) where the
/// server fills in defaults inside of something that it treats as one value, for example in the items of an atomic list:
/// say such defaults yourself. The usual ones of the built-in kinds are known here.
///
/// `live` must come with its `managedFields`: a cache that drops them makes every answer false.
pub fn settled<K>(desired: &K, live: &K, manager: &str) -> bool
where
    K: Resource<DynamicType = ()> + Serialize,
{
    difference(desired, live, manager).is_none()
}

/// True when [`Cluster::apply_status`](crate::Cluster::apply_status) of `desired` by `manager` would change nothing.
///
/// The same as [`settled`], for what stands below `status`.
pub fn status_settled<K>(desired: &K, live: &K, manager: &str) -> bool
where
    K: Resource<DynamicType = ()> + Serialize,
{
    status_difference(desired, live, manager).is_none()
}

/// Why `desired` is not [`settled`]; `None` when it is.
pub fn difference<K>(desired: &K, live: &K, manager: &str) -> Option<Difference>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    difference_in(&K::api_version(&()), desired, live, manager)
}

/// The same as [`difference`] for two objects of one kind that is known only at run time.
pub fn dynamic_difference(
    resource: &ApiResource,
    desired: &DynamicObject,
    live: &DynamicObject,
    manager: &str,
) -> Option<Difference> {
    difference_in(&resource.api_version, desired, live, manager)
}

pub(crate) fn difference_in<K>(api_version: &str, desired: &K, live: &K, manager: &str) -> Option<Difference>
where
    K: Resource + Serialize,
{
    compare(api_version, desired, live, manager).err()
}

/// Why the status of `desired` is not [settled](status_settled); `None` when it is.
pub fn status_difference<K>(desired: &K, live: &K, manager: &str) -> Option<Difference>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    compare_status(desired, live, manager).err()
}

fn compare<K>(api_version: &str, desired: &K, live: &K, manager: &str) -> Comparison
where
    K: Resource + Serialize,
{
    same_object(desired.meta(), live.meta())?;
    let owned = applied(live.meta(), manager, Part::Main, api_version);
    let owned = owned.ok_or_else(|| Difference::new(NEVER_APPLIED))?;
    let owned = Owned::root(&owned);
    let mut said = value(desired)?;
    said.retain(|field, _| !matches!(field.as_str(), "apiVersion" | "kind" | "status"));
    if let Some(Value::Object(meta)) = said.get_mut("metadata") {
        meta.retain(|field, _| !UNOWNED.contains(&field.as_str()));
        if meta.is_empty() {
            said.remove("metadata");
        }
    }
    fields(&said, Some(&Value::Object(value(live)?)), Some(owned), Place::ROOT)
}

fn compare_status<K>(desired: &K, live: &K, manager: &str) -> Comparison
where
    K: Resource<DynamicType = ()> + Serialize,
{
    same_object(desired.meta(), live.meta())?;
    let owned = applied(live.meta(), manager, Part::Status, &K::api_version(&()));
    let owned = owned.ok_or_else(|| Difference::new(NEVER_APPLIED))?;
    let owned = Owned::root(&owned).field("status");
    let (said, live) = (value(desired)?.remove("status"), value(live)?.remove("status"));
    let said = said.unwrap_or(Value::Null);
    if said.is_null() {
        if owned.is_some() {
            return Err(Difference::new(NOT_SAID).in_field("status"));
        }
        return Ok(());
    }
    let place = Place::ROOT.inside("status");
    holds(&said, live.as_ref(), owned, place).map_err(|difference| difference.in_field("status"))
}

fn value(object: &impl Serialize) -> Result<Map<String, Value>, Difference> {
    match exchange::body(object) {
        Ok(Value::Object(fields)) => Ok(fields),
        // The apply will say why.
        _ => Err(Difference::new(UNKNOWN)),
    }
}

/// The same name, and the same UID and `resourceVersion` where `desired` insists on one.
fn same_object(desired: &ObjectMeta, live: &ObjectMeta) -> Comparison {
    let insists =
        |field: fn(&ObjectMeta) -> &Option<String>| field(desired).is_none() || field(desired) == field(live);
    let is_same = desired.name == live.name && desired.namespace == live.namespace;
    ensure!(is_same && insists(|meta| &meta.uid) && insists(|meta| &meta.resource_version), OTHER_OBJECT);
    Ok(())
}

/// Whether this value is what we own, and stands in the object.
fn holds(said: &Value, live: Option<&Value>, owned: Option<Owned<'_>>, place: Place<'_>) -> Comparison {
    let live = live.filter(|value| !value.is_null());
    match said {
        Value::Null => ensure!(live.is_none(), VALUE),
        Value::Object(said) if said.is_empty() || owned.is_some_and(Owned::is_whole) => {
            whole_object(said, live, owned, place)?;
        }
        Value::Object(said) => fields(said, live, owned, place)?,
        Value::Array(said) => list(said, live, owned, place)?,
        scalar => {
            ensure!(owned.is_some(), NOT_OWNED);
            let is_same = match live {
                Some(live) => same::same(scalar, live, place),
                // The server drops many a zero value, but not that it is ours. (Had somebody else removed a value, it
                // would no longer be ours.)
                None => is_zero(scalar),
            };
            ensure!(is_same, VALUE);
        }
    }
    Ok(())
}

fn is_zero(scalar: &Value) -> bool {
    match scalar {
        Value::String(text) => text.is_empty(),
        Value::Bool(is_set) => !is_set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// An object that is owned as one value, or is empty.
fn whole_object(
    said: &Map<String, Value>,
    live: Option<&Value>,
    owned: Option<Owned<'_>>,
    place: Place<'_>,
) -> Comparison {
    ensure!(owned.is_some(), NOT_OWNED);
    ensure!(owned.is_some_and(Owned::is_whole), NOT_SAID);
    let is_same = match live {
        Some(Value::Object(live)) => same::objects(said, live, place),
        // The server drops an empty map, but not that it is ours.
        None => said.is_empty(),
        Some(_) => false,
    };
    ensure!(is_same, VALUE);
    Ok(())
}

/// An object whose fields are owned one by one.
fn fields(
    said: &Map<String, Value>,
    live: Option<&Value>,
    owned: Option<Owned<'_>>,
    place: Place<'_>,
) -> Comparison {
    ensure!(live.is_none_or(Value::is_object), VALUE);
    if let Some(forgotten) = owned.and_then(|owned| owned.field_beyond(|field| said.contains_key(field))) {
        return Err(Difference::new(NOT_SAID).in_field(forgotten));
    }
    for (field, value) in said {
        let live = live.and_then(|live| live.get(field));
        let owned = owned.and_then(|owned| owned.field(field));
        holds(value, live, owned, place.inside(field)).map_err(|difference| difference.in_field(field))?;
    }
    Ok(())
}

fn list(said: &[Value], live: Option<&Value>, owned: Option<Owned<'_>>, place: Place<'_>) -> Comparison {
    let live = match live {
        Some(Value::Array(live)) => live.as_slice(),
        None => &[],
        Some(_) => return Err(Difference::new(VALUE)),
    };
    if said.is_empty() {
        ensure!(owned.is_none_or(Owned::is_whole), NOT_SAID);
        ensure!(live.is_empty(), VALUE);
        return Ok(());
    }
    match owned.ok_or_else(|| Difference::new(NOT_OWNED))?.items() {
        Items::Whole => ensure!(same::lists(said, live, place), VALUE),
        Items::Values(values) => set(said, live, &values)?,
        Items::Keyed(keyed) => keyed_list(said, live, &keyed, place)?,
        Items::Unknown => return Err(Difference::new(UNKNOWN)),
    }
    Ok(())
}

/// A list whose items are owned by what they are.
fn set(said: &[Value], live: &[Value], owned: &[Value]) -> Comparison {
    ensure!(said.iter().all(|item| owned.contains(item)), NOT_OWNED);
    ensure!(owned.len() == said.len(), NOT_SAID);
    ensure!(in_order(said.iter().map(|item| live.iter().position(|live| live == item))), ORDER);
    Ok(())
}

/// A list of objects whose items are owned by some of their fields.
fn keyed_list(
    said: &[Value],
    live: &[Value],
    owned: &[(Map<String, Value>, Owned<'_>)],
    place: Place<'_>,
) -> Comparison {
    let mut positions = Vec::with_capacity(said.len());
    for (index, item) in said.iter().enumerate() {
        let Some((keys, owned)) = owned.iter().find(|(keys, _)| has_keys(item, keys)) else {
            return Err(Difference::new(NOT_OWNED).in_item(index.to_string()));
        };
        let position = live.iter().position(|live| has_keys(live, keys));
        let live = position.and_then(|position| live.get(position));
        holds(item, live, Some(*owned), place).map_err(|difference| difference.in_item(name(keys)))?;
        positions.push(position);
    }
    ensure!(owned.len() == said.len(), NOT_SAID);
    ensure!(in_order(positions.into_iter()), ORDER);
    Ok(())
}

/// Every position is known and they rise: the server keeps the order in which a manager says its items.
fn in_order(positions: impl Iterator<Item = Option<usize>>) -> bool {
    let mut next = 0;
    for position in positions {
        match position {
            Some(position) if position >= next => next = position + 1,
            _ => return false,
        }
    }
    true
}

/// A key that an item leaves out has its default; the only one among the built-in kinds is the protocol.
fn has_keys(item: &Value, keys: &Map<String, Value>) -> bool {
    keys.iter().all(|(key, wanted)| match item.get(key) {
        Some(value) => value == wanted,
        None => key != "protocol" || wanted == "TCP",
    })
}

/// What an item is called in a message: the values of its keys.
fn name(keys: &Map<String, Value>) -> String {
    let values: Vec<_> =
        keys.values().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect();
    values.join(",")
}
