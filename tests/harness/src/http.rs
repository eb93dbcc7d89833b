//! HTTP on loopback, with a script that says how each call is answered, or not.

use std::{convert::Infallible, future::pending, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    header,
    rt::{Read, Write},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::sleep,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

pub(crate) type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Why there is no reply: hyper then closes the connection.
pub(crate) type Cut = &'static str;

const SCRIPTED: Cut = "cut by the script";

/// How one call is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// As the service itself would.
    Serve,
    /// This HTTP status, and nothing that says more.
    Bare(u16),
    /// This HTTP status and AWS error type, in the header and in the body.
    Error(u16, &'static str),
    /// The connection is closed before the request's body was read: nothing was done.
    CutUnread,
    /// The connection is closed once the request was read and done: only the answer is lost.
    CutRead,
    /// The request is read, and nothing ever comes back.
    Hang,
    /// It is done, but the answer's body comes a byte at a time, with this pause between them.
    Trickle(Duration),
    /// The same as another, after a pause.
    After(Duration, Box<Answer>),
    /// The same as another, once the test has given a permit for it.
    Gated(Arc<Semaphore>, Box<Answer>),
}

impl Answer {
    /// The same, after a pause.
    #[must_use]
    pub fn after(self, pause: Duration) -> Self {
        Self::After(pause, Box::new(self))
    }

    /// The same, once `gate` has a permit, which is used up.
    #[must_use]
    pub fn once(self, gate: &Arc<Semaphore>) -> Self {
        Self::Gated(gate.clone(), Box::new(self))
    }

    pub(crate) fn is_unread(&self) -> bool {
        match self {
            Self::CutUnread => true,
            Self::After(_, then) | Self::Gated(_, then) => then.is_unread(),
            _ => false,
        }
    }

    /// The request's body; empty where the script says that it is not to be read.
    pub(crate) async fn read(&self, body: Incoming) -> Result<Bytes, Cut> {
        if self.is_unread() {
            return Ok(Bytes::new());
        }
        Ok(body.collect().await.map_err(|_| "the client went away")?.to_bytes())
    }

    /// What goes back. `serve` does what was asked for and makes the service's own reply: it is called even
    /// where that reply is lost, and not where nothing is done.
    pub(crate) async fn reply(self, serve: impl FnOnce() -> Reply) -> Result<Reply, Cut> {
        self.reply_after(async { serve() }).await
    }

    /// The same where that takes time: what is not polled is not done.
    pub(crate) async fn reply_after(self, serving: impl Future<Output = Reply>) -> Result<Reply, Cut> {
        let mut answer = self;
        loop {
            answer = match answer {
                Self::After(pause, then) => {
                    sleep(pause).await;
                    *then
                }
                Self::Gated(gate, then) => {
                    gate.acquire().await.map_err(|_| SCRIPTED)?.forget();
                    *then
                }
                Self::Serve => return Ok(serving.await),
                Self::Bare(status) => return Ok(reply(status, Bytes::new())),
                Self::Error(status, kind) => return Ok(error(status, kind)),
                Self::CutUnread => return Err(SCRIPTED),
                Self::CutRead => {
                    serving.await;
                    return Err(SCRIPTED);
                }
                Self::Hang => pending().await,
                Self::Trickle(pause) => {
                    serving.await;
                    let bytes = stream::unfold((), move |()| async move {
                        sleep(pause).await;
                        Some((Ok(Frame::data(Bytes::from_static(b" "))), ()))
                    });
                    return Ok(Response::new(StreamBody::new(bytes).boxed_unsync()));
                }
            }
        }
    }
}

pub(crate) fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()).boxed_unsync());
    *reply.status_mut() = status.try_into().expect("a script should name HTTP statuses");
    reply
}

/// An AWS error as all of its JSON protocols understand it.
pub(crate) fn error(status: u16, kind: &'static str) -> Reply {
    error_with(status, kind, json!({ "message": format!("scripted {kind}") }))
}

/// The same with a body that says more.
pub(crate) fn error_with(status: u16, kind: &'static str, mut body: Value) -> Reply {
    body["__type"] = format!("com.amazonaws#{kind}").into();
    let mut reply = reply(status, body.to_string());
    reply.headers_mut().insert("x-amzn-errortype", header::HeaderValue::from_static(kind));
    reply
}

#[derive(PartialEq)]
enum Fate {
    Closed,
    Silent,
}

/// A server on a loopback port of its own, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    fate: watch::Sender<Fate>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Without `tls`, over plain HTTP.
    pub(crate) async fn start<H, F>(tls: Option<TlsAcceptor>, handle: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Reply, Cut>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback should have a free port");
        let address = listener.local_addr().expect("a bound socket should have an address");
        let (fate, fates) = watch::channel(Fate::Closed);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (mut fate, tls, handle) = (fates.clone(), tls.clone(), handle.clone());
                fate.mark_unchanged();
                // Without it, the kernel holds small answers back for up to 40 ms.
                let _ = stream.set_nodelay(true);
                let handle = move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(peer);
                    handle(request)
                };
                tokio::spawn(async move {
                    match tls {
                        None => serve(TokioIo::new(stream), handle, fate).await,
                        Some(tls) => {
                            // A client that trusts another authority hangs up.
                            let Ok(stream) = tls.accept(stream).await else { return };
                            serve(TokioIo::new(stream), handle, fate).await;
                        }
                    }
                });
            }
        });
        Self { address, fate, accepting }
    }

    pub(crate) fn close_connections(&self) {
        self.fate.send_replace(Fate::Closed);
    }

    pub(crate) fn silence_connections(&self) {
        self.fate.send_replace(Fate::Silent);
    }
}

async fn serve<T, H, F>(stream: T, handle: H, mut fate: watch::Receiver<Fate>)
where
    T: Read + Write + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Result<Reply, Cut>> + Send + 'static,
{
    let mut serving = http1::Builder::new().serve_connection(stream, service_fn(handle));
    let silent = tokio::select! {
        _ = &mut serving => false,
        changed = fate.changed() => changed.is_ok() && *fate.borrow() == Fate::Silent,
    };
    if silent {
        // The socket stays open, but is never read again.
        let _ = fate.changed().await;
    }
}

/// TLS with the certificate `server.pem` and the key `server.key` of a folder.
pub(crate) fn acceptor(folder: &Path) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("a private key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the key should belong to the certificate");
    TlsAcceptor::from(Arc::new(config))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
