//! Connections: a bounded number, of which none can keep the others out.
//!
//! A header has a time from its first byte to its last, whatever trickles. When all places are taken, the connection that
//! has waited longest for its next header gives up its place, so that a health check always finds one.

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, Sleep};

/// Connections at once.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// Bytes of a header, and of what is read ahead.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// A connection on which nothing moved for this long is closed.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Before the system is asked again for a connection that it could not give (no file descriptors).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The connections that are open, by the order in which they came.
#[derive(Default)]
struct Places {
    open: Mutex<BTreeMap<u64, Arc<Place>>>,
    /// Told when one closes.
    freed: Notify,
}

/// One connection's.
#[derive(Default)]
struct Place {
    /// A request is being answered.
    answering: AtomicBool,
    /// Told to close.
    evicted: Notify,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Place>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, if need be that of the connection that came first among those that no request is answered on. None: all of them
    /// are answered on.
    fn take(&self, number: u64) -> Option<Arc<Place>> {
        let mut open = self.lock();
        if open.len() >= CONNECTIONS_MAX {
            let waiting = open.iter().find(|(_, place)| !place.answering.load(Ordering::Relaxed));
            let first = *waiting?.0;
            if let Some(place) = open.remove(&first) {
                place.evicted.notify_one();
            }
        }
        let place = Arc::new(Place::default());
        open.insert(number, Arc::clone(&place));
        Some(place)
    }

    fn leave(&self, number: u64) {
        self.lock().remove(&number);
        self.freed.notify_one();
    }
}

/// Serves `router` until `stop` is true; then no connection is taken any more, and those that are open end with their requests.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    header_time_max: Duration,
    stop: watch::Receiver<bool>,
) {
    let (places, mut number) = (Arc::new(Places::default()), 0);
    let running = Arc::new(Running::default());
    let mut stopping = stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        number += 1;
        let place = loop {
            match places.take(number) {
                Some(place) => break place,
                None => places.freed.notified().await,
            }
        };
        let (counted, places) = (running.begin(), Arc::clone(&places));
        let (router, stop) = (router.clone(), stop.clone());
        tokio::spawn(async move {
            one(stream, Arc::clone(&place), router, header_time_max, stop).await;
            places.leave(number);
            drop(counted);
        });
    }
    drop(listener);
    running.ended().await;
}

/// Tasks that run.
#[derive(Default)]
struct Running {
    count: AtomicUsize,
    ended: Notify,
}

struct Counted(Arc<Running>);

impl Running {
    fn begin(self: &Arc<Self>) -> Counted {
        self.count.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(self))
    }

    async fn ended(&self) {
        while self.count.load(Ordering::Relaxed) > 0 {
            self.ended.notified().await;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.ended.notify_one();
    }
}

/// Serves one connection to its end.
async fn one(
    stream: TcpStream,
    place: Arc<Place>,
    router: Router,
    header_time_max: Duration,
    mut stop: watch::Receiver<bool>,
) {
    // An answer is small and goes out whole.
    let _ = stream.set_nodelay(true);
    let idle = Box::pin(tokio::time::sleep(IDLE_MAX));
    let service = Marking { inner: TowerToHyperService::new(router), place: Arc::clone(&place) };
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_time_max)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(Connection { stream, idle }), service)
    );
    let mut is_stopping = false;
    loop {
        tokio::select! {
            // What goes wrong on a connection concerns nobody but its other end.
            _ = connection.as_mut() => break,
            () = place.evicted.notified() => break,
            _ = stop.wait_for(|stop| *stop), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Marks a connection's place while a request is answered.
struct Marking {
    inner: TowerToHyperService<Router>,
    place: Arc<Place>,
}

impl Service<Request<Incoming>> for Marking {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.place.answering.store(true, Ordering::Relaxed);
        let (answer, place) = (self.inner.call(request), Arc::clone(&self.place));
        Box::pin(async move {
            let answer = answer.await;
            place.answering.store(false, Ordering::Relaxed);
            answer
        })
    }
}

/// A connection that ends when nothing moves.
struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
}

impl Connection {
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        found: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if found.is_ready() {
            self.idle.as_mut().reset(Instant::now() + IDLE_MAX);
            return found;
        }
        match self.idle.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let found = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watched(context, found)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let found = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, found)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let found = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watched(context, found)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_gives_up_the_oldest_that_waits() {
        let places = Places::default();
        let all: Vec<_> = (0..CONNECTIONS_MAX as u64).map(|n| places.take(n).unwrap()).collect();
        all[0].answering.store(true, Ordering::Relaxed);
        let newest = places.take(1000).expect("another one waits");
        let numbers: Vec<u64> = places.lock().keys().copied().collect();
        assert_eq!(numbers.len(), CONNECTIONS_MAX);
        assert_eq!((numbers[0], numbers[1]), (0, 2), "1 waited longest; 0 is being answered");
        for place in all.iter().chain([&newest]) {
            place.answering.store(true, Ordering::Relaxed);
        }
        assert!(places.take(1001).is_none(), "all are being answered");
        places.leave(7);
        assert!(places.take(1001).is_some());
    }
}
