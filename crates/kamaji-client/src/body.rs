//! The endless answer to a watch.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tower::BoxError;

use crate::bounds::{Bounds, Exceeded};
use crate::held::{Held, Share};
use crate::pace::Pace;

/// A watch that ends sooner is broken: whoever begins it again and again would never rest.
const SHORTEST: Duration = Duration::from_secs(5);

/// The body of a watch, which fails when the server is silent for too long, or ends it at once, or an event has no end.
/// A server that says more than we want to hear is read slowly.
pub(crate) struct Watched<B> {
    inner: Pin<Box<B>>,
    bounds: Bounds,
    begun: Instant,
    patience: Pin<Box<Sleep>>,
    pace: Pace,
    /// Until more may be read.
    pause: Option<Pin<Box<Sleep>>>,
    /// Bytes since the last event ended.
    event: Share,
}

impl<B> Watched<B> {
    pub(crate) fn new(inner: B, bounds: &Bounds, held: &Held, pace: &Pace) -> Self {
        Self {
            inner: Box::pin(inner),
            bounds: *bounds,
            begun: Instant::now(),
            patience: Box::pin(tokio::time::sleep(bounds.silence)),
            pace: pace.clone(),
            pause: None,
            event: held.share(),
        }
    }

    /// An end is one that the server promised only if the watch has lasted.
    fn end(&self) -> Option<Result<Frame<Bytes>, BoxError>> {
        let lasted = self.begun.elapsed();
        (lasted < SHORTEST).then(|| Err(Exceeded::Brief(lasted).into()))
    }
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let watched = &mut *self;
        if let Some(pause) = &mut watched.pause {
            ready!(pause.as_mut().poll(context));
            watched.pause = None;
        }
        let Poll::Ready(frame) = watched.inner.as_mut().poll_frame(context) else {
            ready!(watched.patience.as_mut().poll(context));
            return Poll::Ready(Some(Err(Exceeded::Silence(watched.bounds.silence).into())));
        };
        let frame = match frame {
            None => return Poll::Ready(watched.end()),
            // An end without a goodbye is an end for those who read events, too.
            Some(Err(error)) => return Poll::Ready(Some(watched.end().unwrap_or_else(|| Err(error.into())))),
            Some(Ok(frame)) => frame,
        };
        watched.patience.as_mut().reset(Instant::now() + watched.bounds.silence);
        if let Some(data) = frame.data_ref() {
            let rest = watched.bounds.rest_after(data.len(), &watched.pace);
            watched.pause = (!rest.is_zero()).then(|| Box::pin(tokio::time::sleep(rest)));
            let of_this_event = match data.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => {
                    watched.event.clear();
                    data.len() - end
                }
                None => data.len(),
            };
            if let Err(exceeded) = watched.event.add(of_this_event, &watched.bounds) {
                return Poll::Ready(Some(Err(exceeded.into())));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
