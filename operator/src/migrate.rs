//! `kamaji migrate`: what the Job of a migration does. It asks no API server: it is told everything, and its end and its last
//! words are all that it has to say.

mod route;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use kamaji_datastore::migrate::{Error, Next, Progress, Servers};

pub use self::route::{KeyPair, Login, Route, Station};
use crate::backoff::doubled;
use crate::cli::{Encoder, MigrateArgs};
use crate::error::chain;
use crate::logging;

/// After the first failure of a datastore.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// However often it fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often progress is told.
const NEWS: Duration = Duration::from_secs(2);

/// The data is copied and compared, and the source is fenced; or the tenant is on the target already.
pub(crate) async fn run(args: MigrateArgs) -> anyhow::Result<()> {
    logging::init("info", Encoder::Json)?;
    let text = std::fs::read(&args.route).with_context(|| format!("read {}", args.route.display()))?;
    let route = Route::parse(&text).with_context(|| format!("read {}", args.route.display()))?;
    let ended = tokio::time::timeout(args.timeout, migrate(&route, &args)).await;
    let Ok(ended) = ended else {
        bail!("the migration of {} did not end within {:?}", args.tenant_control_plane, args.timeout);
    };
    let next = ended.with_context(|| {
        format!("migrate {} to DataStore {}", args.tenant_control_plane, args.target_datastore)
    })?;
    let end = match next {
        Next::Done => "the tenant is on the target",
        _ => "the source is fenced; the tenant's API servers must be stopped now",
    };
    tracing::info!(end, "as far as it goes");
    Ok(())
}

/// As far as it can go while API servers may still run. Datastores that fail are asked again.
async fn migrate(route: &Route, args: &MigrateArgs) -> anyhow::Result<Next> {
    let migration = route.migration()?;
    let (mut failures, mut may_clean) = (0, args.cleanup_prior_migration);
    loop {
        let mut news = News::default();
        let error = match migration.run(Servers::Running, &mut |progress| news.hear(progress)).await {
            Ok(next) => return Ok(next),
            Err(error) => error,
        };
        if matches!(error, Error::InUse) && std::mem::take(&mut may_clean) {
            tracing::info!("removing what the tenant has left in the target");
            route.clean_target().await?;
            continue;
        }
        if !is_passing(&error) {
            return Err(error.into());
        }
        failures += 1;
        let pause = doubled(SHORTEST_PAUSE, failures, LONGEST_PAUSE);
        tracing::warn!(error = chain(&error), ?pause, "not yet");
        tokio::time::sleep(pause).await;
    }
}

/// Whether the same call may do better later.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Store { source, .. } => !source.needs_a_change(),
        Error::Contended { .. } => true,
        _ => false,
    }
}

/// Tells progress now and then, and each new step.
#[derive(Default)]
struct News {
    told: Option<(Progress, Instant)>,
}

impl News {
    fn hear(&mut self, progress: Progress) {
        let is_old = |(told, at): &(Progress, Instant)| told.step == progress.step && at.elapsed() < NEWS;
        if self.told.as_ref().is_some_and(is_old) {
            return;
        }
        let Progress { step, records, bytes } = progress;
        tracing::info!(?step, records, bytes, "migrating");
        self.told = Some((progress, Instant::now()));
    }
}
