//! What keeps the Job of a migration from its work, read off its Pods.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

/// How often a container may fail: a Pod that was ended from without goes on once it is started again, one that fails
/// twice will fail again.
const FAILURES: i32 = 2;
/// How much is told of a container's last words, in characters.
const WORDS: usize = 300;
/// Why a container waits when all is well.
const HARMLESS: [&str; 3] = ["ContainerCreating", "PodInitializing", "CrashLoopBackOff"];
/// Why a container waits that will go on waiting.
const HOPELESS: [&str; 3] = ["ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];

/// What keeps the Job from its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It may end by itself: what.
    Passing(String),
    /// It will not: what.
    Lasting(String),
}

impl Trouble {
    /// The worst that the Job's Pods tell; nothing while one of them works.
    pub fn of(pods: &[Pod]) -> Option<Self> {
        let living = || pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        if living().any(works) {
            return None;
        }
        let failures: i32 = living().map(failures).sum();
        if failures >= FAILURES {
            let last = living().filter_map(last_end).next_back();
            let words = last.map(|end| format!(": {}", told(end))).unwrap_or_default();
            return Some(Self::Lasting(format!("the Job has failed {failures} times{words}")));
        }
        living().filter_map(obstacle).next_back()
    }

    /// What it is.
    pub fn why(&self) -> &str {
        let (Self::Passing(why) | Self::Lasting(why)) = self;
        why
    }
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// A Pod of a node that is lost says that it runs, and that it is not ready.
fn works(pod: &Pod) -> bool {
    let is_running = container(pod)
        .and_then(|container| container.state.as_ref())
        .is_some_and(|state| state.running.is_some());
    (is_running && condition(pod, "Ready").is_none_or(|(status, _)| status == "True"))
        || phase(pod) == "Succeeded"
}

/// Its status and its words.
fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((&condition.status, condition.message.as_deref().unwrap_or_default()))
}

/// How often the container of a Pod that does not work has ended, or the Pod itself.
fn failures(pod: &Pod) -> i32 {
    let restarts = container(pod).map_or(0, |container| container.restart_count);
    let has_ended = last_end(pod).is_some_and(|end| end.exit_code != 0);
    restarts + i32::from(has_ended || phase(pod) == "Failed")
}

fn last_end(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let container = container(pod)?;
    let [now, before] = [&container.state, &container.last_state]
        .map(|state| state.as_ref().and_then(|state| state.terminated.as_ref()));
    now.or(before)
}

fn told(end: &ContainerStateTerminated) -> String {
    let message = end.message.as_deref().or(end.reason.as_deref()).unwrap_or_default().trim();
    // The last words are at the end.
    let all = message.chars().count();
    let words: String = message.chars().skip(all.saturating_sub(WORDS)).collect();
    format!("exit code {}: {words}", end.exit_code)
}

/// What a Pod waits for.
fn obstacle(pod: &Pod) -> Option<Trouble> {
    if let Some(("False", why)) = condition(pod, "PodScheduled") {
        return Some(Trouble::Passing(format!("the Job's Pod finds no node: {why}")));
    }
    if let Some(("False", _)) = condition(pod, "Ready")
        && container(pod).and_then(|container| container.state.as_ref()?.running.as_ref()).is_some()
    {
        return Some(Trouble::Passing("the node of the Job's Pod does not answer".to_owned()));
    }
    let waiting = container(pod).and_then(|container| container.state.as_ref()?.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    if let Some(waiting) = waiting.filter(|_| !reason.is_empty() && !HARMLESS.contains(&reason)) {
        let message = waiting.message.as_deref().unwrap_or_default();
        let why = format!("the Job's Pod does not start: {reason}: {message}");
        return Some(if HOPELESS.contains(&reason) { Trouble::Lasting(why) } else { Trouble::Passing(why) });
    }
    let end = last_end(pod).filter(|end| end.exit_code != 0)?;
    Some(Trouble::Passing(format!("the Job has failed: {}", told(end))))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pods(statuses: &[Value]) -> Vec<Pod> {
        let pod = |status: &Value| serde_json::from_value(json!({ "status": status })).unwrap();
        statuses.iter().map(pod).collect()
    }

    fn container(restarts: i32, state: &Value, last: &Value) -> Value {
        let container = json!({ "name": "migrate", "image": "i", "imageID": "", "ready": false,
            "restartCount": restarts, "state": state, "lastState": last });
        json!({ "phase": "Running", "containerStatuses": [container] })
    }

    fn ended(code: i32) -> Value {
        json!({ "terminated": { "exitCode": code, "message": "no way\n" } })
    }

    fn waiting(reason: &str) -> Value {
        json!({ "waiting": { "reason": reason, "message": "m" } })
    }

    fn with_condition(status: &Value, kind: &str) -> Value {
        let mut status = status.clone();
        status["conditions"] = json!([{ "type": kind, "status": "False", "message": "no room" }]);
        status
    }

    #[test]
    fn pods_tell_what_keeps_the_job_from_its_work() {
        let lasting = |why: &str| Some(Trouble::Lasting(why.to_owned()));
        let passing = |why: &str| Some(Trouble::Passing(why.to_owned()));
        let running = json!({ "running": {} });
        let none = json!({});
        let crash = waiting("CrashLoopBackOff");
        let killed = container(0, &crash, &ended(137));
        for (statuses, expected) in [
            (vec![], None),
            (vec![json!({ "phase": "Pending" })], None),
            (vec![container(0, &running, &none)], None),
            // It goes on, whatever it was that ended it.
            (vec![container(5, &running, &ended(1))], None),
            (vec![json!({ "phase": "Failed" }), container(1, &running, &none)], None),
            (vec![container(0, &waiting("ContainerCreating"), &none)], None),
            (vec![killed.clone()], passing("the Job has failed: exit code 137: no way")),
            (vec![container(0, &ended(1), &none)], passing("the Job has failed: exit code 1: no way")),
            (
                vec![container(1, &ended(1), &ended(1))],
                lasting("the Job has failed 2 times: exit code 1: no way"),
            ),
            (
                vec![container(2, &crash, &ended(1))],
                lasting("the Job has failed 3 times: exit code 1: no way"),
            ),
            (
                vec![json!({ "phase": "Failed" }), json!({ "phase": "Failed" })],
                lasting("the Job has failed 2 times"),
            ),
            (
                vec![json!({ "phase": "Failed" }), killed],
                lasting("the Job has failed 2 times: exit code 137: no way"),
            ),
            (
                vec![with_condition(&json!({ "phase": "Pending" }), "PodScheduled")],
                passing("the Job's Pod finds no node: no room"),
            ),
            (
                vec![with_condition(&container(0, &running, &none), "Ready")],
                passing("the node of the Job's Pod does not answer"),
            ),
            (
                vec![container(0, &waiting("ImagePullBackOff"), &none)],
                lasting("the Job's Pod does not start: ImagePullBackOff: m"),
            ),
            (
                vec![container(0, &waiting("ErrImagePull"), &none)],
                passing("the Job's Pod does not start: ErrImagePull: m"),
            ),
        ] {
            assert_eq!(Trouble::of(&pods(&statuses)), expected, "{statuses:?}");
        }
    }

    #[test]
    fn a_pod_that_is_being_deleted_tells_nothing() {
        let mut pods = pods(&[container(3, &waiting("CrashLoopBackOff"), &ended(1))]);
        pods[0].metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(Trouble::of(&pods), None);
    }

    #[test]
    fn only_the_end_of_long_words_is_told() {
        let end = ContainerStateTerminated {
            message: Some(format!("{}the end", "x".repeat(WORDS))),
            ..ContainerStateTerminated::default()
        };
        let words = told(&end);
        assert!(words.ends_with("the end") && words.len() < WORDS + 20, "{words}");
    }
}
