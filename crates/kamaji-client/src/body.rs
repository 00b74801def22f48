//! The endless answer to a watch.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tower::BoxError;

use crate::bounds::{Bounds, Exceeded};

/// The body of a watch, which fails when the server is silent for too long or an event has no end.
pub(crate) struct Watched<B> {
    inner: Pin<Box<B>>,
    bounds: Bounds,
    patience: Pin<Box<Sleep>>,
    /// Bytes since the last event ended.
    event: usize,
}

impl<B> Watched<B> {
    pub(crate) fn new(inner: B, bounds: &Bounds) -> Self {
        let patience = Box::pin(tokio::time::sleep(bounds.silence));
        Self { inner: Box::pin(inner), bounds: *bounds, patience, event: 0 }
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
        let Poll::Ready(frame) = self.inner.as_mut().poll_frame(context) else {
            ready!(self.patience.as_mut().poll(context));
            return Poll::Ready(Some(Err(Exceeded::Silence(self.bounds.silence).into())));
        };
        let Some(frame) = frame.transpose().map_err(Into::into)? else { return Poll::Ready(None) };
        let until = Instant::now() + self.bounds.silence;
        self.patience.as_mut().reset(until);
        if let Some(data) = frame.data_ref() {
            self.event = match data.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => data.len() - end,
                None => self.event + data.len(),
            };
        }
        if self.event > self.bounds.size {
            return Poll::Ready(Some(Err(Exceeded::Size(self.bounds.size).into())));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
