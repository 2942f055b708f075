//! The service's HTTP calls, on a separate thread; `docs/http.md` describes them.
//!
//! ```text
//! request -> limits -> token -> question -> [queue] -> engine's thread, between batches -> answer
//! ```

mod access;
mod access_log;
pub mod client;
mod connections;
mod queries;
mod reply;
mod routes;
mod settings;
mod time_share;

pub use queries::{Asking, Queries, Query, queries};
pub use routes::Context;
pub use settings::{Caller, Settings, Token};

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How long requests that have begun may take when the server stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(6);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {address} (http.listen): {why}\nhint: is another detector running? choose another port, or stop that one"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        why: io::Error,
    },
    /// The system gives no thread or no runtime.
    #[error(
        "cannot start the HTTP thread: {0}\nhint: has the process reached a limit of the system (ulimit)?"
    )]
    Thread(io::Error),
    /// The access log cannot be written.
    #[error(
        "cannot open the access log {} (http.access_log): {why}\nhint: is its folder there, and may this user write to it?",
        .path.display()
    )]
    AccessLog {
        /// The file.
        path: std::path::PathBuf,
        /// What the system says.
        why: io::Error,
    },
}

/// A server that runs. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and serves until it is stopped. `Ok(None)` when the configuration wants no HTTP.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start(settings: &Settings, context: Context) -> Result<Option<Self>, HttpError> {
        let Some(address) = settings.listen else { return Ok(None) };
        let failed = |why| HttpError::Listen { address, why };
        let socket = std::net::TcpListener::bind(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(HttpError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let header_time_max = settings.header_time_max;
        let router = routes::router(context, settings)?;
        let thread = std::thread::Builder::new()
            .name("http".into())
            .spawn(move || {
                runtime.block_on(serve(socket, router, header_time_max, stopped));
                runtime.shutdown_background();
            })
            .map_err(HttpError::Thread)?;
        tracing::info!(%address, "listening for HTTP");
        Ok(Some(Self { address, stop: Some(stop), thread: Some(thread) }))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets requests that have begun end (for some seconds), and returns.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP thread ended by a panic");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

async fn serve(
    socket: std::net::TcpListener,
    router: axum::Router,
    header_time_max: Duration,
    stopped: oneshot::Receiver<()>,
) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(e) => {
            tracing::error!(event = "http_failed", error = %e, "HTTP cannot be served");
            return;
        }
    };
    let (drain, draining) = watch::channel(false);
    let mut serving = std::pin::pin!(connections::serve(socket, router, header_time_max, draining));
    tokio::select! {
        () = serving.as_mut() => return,
        // A server whose handle is gone stops as well.
        _ = stopped => {}
    }
    let _ = drain.send(true);
    if tokio::time::timeout(STOP_TIME_MAX, serving).await.is_err() {
        tracing::warn!(event = "http_cut_off", "requests cut off at shutdown");
    }
}
