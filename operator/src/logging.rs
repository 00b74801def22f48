//! Structured logs on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::cli::Encoder;

/// Lines go to standard error from now on.
///
/// kube's client is muted: it would log a body that it cannot read, and a body may be a Secret; its errors we log ourselves.
/// So is that of NATS, which logs as an error what is one of the answers that we expect.
pub(crate) fn init(level: &str, encoder: Encoder) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!(
        "{level},kube_client=off,async_nats=off,hyper=error,tower=error,h2=error"
    ))?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match encoder {
        Encoder::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
        }
        Encoder::Console => builder.init(),
    }
    Ok(())
}
