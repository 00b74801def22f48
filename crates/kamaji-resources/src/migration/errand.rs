//! How far the Job of a migration is, read off the Job and the clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;

/// How far the Job of a try is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// There is none.
    Absent,
    /// It runs, or waits for a node.
    Running,
    /// It ended well.
    Complete,
    /// It ended, and will not be tried again, or the time is over: why.
    Failed(String),
}

impl Errand {
    /// How far it is at `now`, if all of the try may take so long. When the time is over a Job has failed that never started,
    /// that nobody looks after, or whose work was in vain.
    pub fn of(job: Option<&Job>, started: Timestamp, timeout: Duration, now: Timestamp) -> Self {
        let condition = |kind: &str| {
            let conditions = job?.status.as_ref()?.conditions.as_ref()?;
            conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
        };
        if let Some(failed) = condition("Failed") {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            return Self::Failed(format!(
                "the Job failed: {}: {}",
                text(&failed.reason),
                text(&failed.message)
            ));
        }
        let limit = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
        if now.duration_since(started) > limit {
            return Self::Failed(format!("it was not done within {timeout:?}"));
        }
        match job {
            None => Self::Absent,
            Some(_) if condition("Complete").is_some() => Self::Complete,
            Some(_) => Self::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(condition: &str) -> Job {
        let condition =
            serde_json::json!({ "type": condition, "status": "True", "reason": "R", "message": "m" });
        serde_json::from_value(serde_json::json!({ "status": { "conditions": [condition] } })).unwrap()
    }

    #[test]
    fn a_job_has_failed_when_it_says_so_or_the_time_is_over() {
        let late = "it was not done within 60s".to_owned();
        let failed = "the Job failed: R: m".to_owned();
        let cases: Vec<(Option<Job>, i64, Errand)> = vec![
            (None, 1, Errand::Absent),
            (None, 61, Errand::Failed(late.clone())),
            (Some(Job::default()), 60, Errand::Running),
            (Some(job("Suspended")), 1, Errand::Running),
            (Some(Job::default()), 61, Errand::Failed(late.clone())),
            (Some(job("Complete")), 60, Errand::Complete),
            (Some(job("Complete")), 61, Errand::Failed(late)),
            (Some(job("Failed")), 1, Errand::Failed(failed)),
        ];
        for (job, after, expected) in cases {
            let now = Timestamp::from_second(after).unwrap();
            let found = Errand::of(job.as_ref(), Timestamp::UNIX_EPOCH, Duration::from_mins(1), now);
            assert_eq!(found, expected, "{job:?} {after}");
        }
    }
}
