//! Whether an apply would change anything, told from the object alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    ObjectId, exchange,
    owned::{Items, Owned, Part},
    same::{Place, same},
};

/// Fields that apply never owns: they are the object's address and what the server keeps about it.
const NOT_OWNED: [&str; 9] = [
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
    let Some(owned) = Owned::by(live.meta(), manager, Part::Main, &K::api_version(&())) else {
        return false;
    };
    let (Ok(Value::Object(mut said)), Ok(live_value)) = (exchange::body(desired), serde_json::to_value(live))
    else {
        return false;
    };
    said.retain(|field, _| !matches!(field.as_str(), "apiVersion" | "kind" | "status"));
    if let Some(Value::Object(meta)) = said.get_mut("metadata") {
        meta.retain(|field, _| !NOT_OWNED.contains(&field.as_str()));
        if meta.is_empty() {
            said.remove("metadata");
        }
    }
    same_object(desired, live) && fields(&said, Some(&live_value), Some(owned), Place::ROOT)
}

/// True when [`Cluster::apply_status`](crate::Cluster::apply_status) of `desired` by `manager` would change nothing.
///
/// The same as [`settled`], for what stands below `status`.
pub fn status_settled<K>(desired: &K, live: &K, manager: &str) -> bool
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let owned = Owned::by(live.meta(), manager, Part::Status, &K::api_version(&()));
    let Some(owned) = owned.and_then(|owned| owned.field("status")) else {
        return false;
    };
    let (Some(said), live_status) = (status(desired), status(live)) else {
        return false;
    };
    same_object(desired, live)
        && holds(
            &said,
            live_status.as_ref(),
            Some(owned),
            Place::ROOT.inside("status"),
        )
}

fn status(object: &impl Serialize) -> Option<Value> {
    exchange::body(object).ok()?.as_object_mut()?.remove("status")
}

/// The same name, and the same UID and `resourceVersion` where `desired` insists on one.
fn same_object<K: Resource<DynamicType = ()>>(desired: &K, live: &K) -> bool {
    let insists = |field: fn(&ObjectMeta) -> &Option<String>| {
        field(desired.meta()).is_none() || field(desired.meta()) == field(live.meta())
    };
    ObjectId::of(desired) == ObjectId::of(live)
        && insists(|meta| &meta.uid)
        && insists(|meta| &meta.resource_version)
}

/// Whether this value is what we own, and stands in the object.
fn holds(said: &Value, live: Option<&Value>, owned: Option<Owned<'_>>, place: Place<'_>) -> bool {
    let live = live.filter(|value| !value.is_null());
    match said {
        Value::Null => live.is_none(),
        Value::Object(said) if said.is_empty() || owned.is_some_and(Owned::is_whole) => {
            whole_object(said, live, owned, place)
        }
        Value::Object(said) => fields(said, live, owned, place),
        Value::Array(said) => list(said, live, owned, place),
        scalar => owned.is_some() && live.is_some_and(|live| same(scalar, live, place)),
    }
}

/// An object that is owned as one value, or is empty.
fn whole_object(
    said: &Map<String, Value>,
    live: Option<&Value>,
    owned: Option<Owned<'_>>,
    place: Place<'_>,
) -> bool {
    if !owned.is_some_and(Owned::is_whole) {
        return false;
    }
    match live {
        Some(Value::Object(live)) => crate::same::objects(said, live, place),
        // The server drops an empty map, but not that it is ours.
        None => said.is_empty(),
        Some(_) => false,
    }
}

/// An object whose fields are owned one by one.
fn fields(
    said: &Map<String, Value>,
    live: Option<&Value>,
    owned: Option<Owned<'_>>,
    place: Place<'_>,
) -> bool {
    let nothing_forgotten = owned.is_none_or(|owned| owned.fields_all(|field| said.contains_key(field)));
    nothing_forgotten
        && live.is_none_or(Value::is_object)
        && said.iter().all(|(field, value)| {
            let live = live.and_then(|live| live.get(field));
            let owned = owned.and_then(|owned| owned.field(field));
            holds(value, live, owned, place.inside(field))
        })
}

fn list(said: &[Value], live: Option<&Value>, owned: Option<Owned<'_>>, place: Place<'_>) -> bool {
    let live = match live {
        Some(Value::Array(live)) => live.as_slice(),
        None => &[],
        Some(_) => return false,
    };
    if said.is_empty() {
        return live.is_empty() && owned.is_none_or(Owned::is_whole);
    }
    match owned.map(Owned::items) {
        Some(Items::Whole) => crate::same::lists(said, live, place),
        Some(Items::Values(values)) => {
            values.len() == said.len()
                && said.iter().all(|item| values.contains(item))
                && in_order(said.iter().map(|item| live.iter().position(|live| live == item)))
        }
        Some(Items::Keyed(keyed)) => keyed_list(said, live, &keyed, place),
        Some(Items::Unknown) | None => false,
    }
}

fn keyed_list(
    said: &[Value],
    live: &[Value],
    keyed: &[(Map<String, Value>, Owned<'_>)],
    place: Place<'_>,
) -> bool {
    let places = said.iter().map(|item| {
        let (keys, owned) = keyed.iter().find(|(keys, _)| has_keys(item, keys))?;
        let position = live.iter().position(|live| has_keys(live, keys))?;
        holds(item, live.get(position), Some(*owned), place).then_some(position)
    });
    keyed.len() == said.len() && in_order(places)
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
