//! HTTP/1.1 to one server: idle connections kept for the next request, one address lookup for all of them.
//!
//! Beneath the SDK too: its own client, with HTTP/2 and proxies, is a sixth of each zip.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::Context;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use bytes::buf::Chain;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header::HOST};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::{Buf, Bytes},
    client::conn::http1::{SendRequest, handshake},
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use crate::{clock::Moment, tls::Tls};

/// How long an address is used before the name is looked up again.
const ADDRESS_LIFE: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection to AWS that has been idle for longer is not used again. One that died without a word, in a freeze perhaps,
/// costs an attempt its whole timeout; a fan-out may have left dozens of them to a single recipient.
pub(crate) const LONGEST_REST: Duration = Duration::from_secs(20);
/// A page of DynamoDB's has 1 MB of data, and some JSON around it.
const LARGEST_SDK_ANSWER: usize = 16 * 1024 * 1024;

/// Two pieces, of which many requests may share the first.
pub type Body = Full<Chain<Bytes, Bytes>>;
type Sender = SendRequest<Body>;

/// A body of two pieces.
#[must_use]
pub fn chained(start: Bytes, end: Bytes) -> Body {
    Full::new(start.chain(end))
}

/// No body.
#[must_use]
pub fn empty() -> Body {
    chained(Bytes::new(), Bytes::new())
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server's certificate is from none of the authorities that are trusted: another attempt ends no better.
    #[error(
        "the server's certificate is not trusted; AWS_CA_BUNDLE can name a PEM file with other authorities"
    )]
    Untrusted(#[source] io::Error),
    /// No connection: another attempt may succeed.
    #[error("{0}")]
    Unreached(&'static str, #[source] Box<dyn StdError + Send + Sync>),
    /// The connection broke, and what the server has seen of the request is not known. Another attempt may succeed.
    #[error("{0}")]
    Lost(&'static str, #[source] Box<dyn StdError + Send + Sync>),
}

fn unreached<E: Into<Box<dyn StdError + Send + Sync>>>(when: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Unreached(when, error.into())
}

fn lost<E: Into<Box<dyn StdError + Send + Sync>>>(when: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Lost(when, error.into())
}

/// A server and the connections to it that no request is using.
pub struct Host {
    tls: Option<(TlsConnector, ServerName<'static>)>,
    authority: HeaderValue,
    name: String,
    port: u16,
    longest_rest: Duration,
    idle: Mutex<VecDeque<(Sender, Moment)>>,
    /// An async lock, so that all who connect at once wait for one lookup.
    known_addresses: tokio::sync::Mutex<Option<(Vec<SocketAddr>, Moment)>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Host {
    /// The server of an `http://` or `https://` address. A connection that has been idle for `longest_rest` is not used
    /// again.
    ///
    /// # Errors
    ///
    /// The address names no host.
    pub fn new(url: &Uri, tls: Tls, longest_rest: Duration) -> anyhow::Result<Self> {
        let authority = url.authority().context("the address names no host")?;
        let name = authority.host().trim_matches(['[', ']']).to_owned();
        let encrypted = url.scheme_str() == Some("https");
        let usual_port = if encrypted { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(usual_port);
        let server_name = encrypted.then(|| ServerName::try_from(name.clone())).transpose()?;
        // Without the usual port, as every client sends it and signs it.
        let authority = if port == usual_port { authority.host() } else { authority.as_str() };
        Ok(Self {
            tls: server_name.map(|name| (tls.into(), name)),
            authority: authority.parse()?,
            name,
            port,
            longest_rest,
            idle: Mutex::default(),
            known_addresses: tokio::sync::Mutex::default(),
        })
    }

    /// The value of the header `host`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.to_str().unwrap_or_default()
    }

    /// How many connections are open and idle, and may be used again.
    #[must_use]
    pub fn open(&self) -> usize {
        self.idle().len()
    }

    /// Sends a request, whose address is a path, and reads an answer of at most `largest` bytes to its end.
    ///
    /// A connection is used again unless its answer says that the server is in trouble. To give up on an answer, drop
    /// the future: that closes the connection.
    ///
    /// # Errors
    ///
    /// There was no answer, not a whole one, or a longer one.
    pub async fn request(
        &self,
        mut request: Request<Body>,
        largest: usize,
    ) -> Result<Response<Bytes>, Error> {
        request.headers_mut().insert(HOST, self.authority.clone());
        loop {
            let (mut sender, reused) = match self.take() {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            let response = match sender.try_send_request(request).await {
                Ok(response) => response,
                Err(mut error) => match error.take_message() {
                    // The server closed an idle connection, and has seen nothing of this.
                    Some(unsent) if reused => {
                        request = unsent;
                        continue;
                    }
                    Some(_) => return Err(unreached("the connection broke")(error.into_error())),
                    None => return Err(lost("the connection broke")(error.into_error())),
                },
            };
            let (head, body) = response.into_parts();
            let body = Limited::new(body, largest).collect().await;
            let body = body.map_err(lost("the answer did not come whole"))?.to_bytes();
            let troubled = head.status.is_server_error() || head.status == StatusCode::REQUEST_TIMEOUT;
            if !troubled && !self.longest_rest.is_zero() && sender.ready().await.is_ok() {
                self.idle().push_back((sender, Moment::now()));
            }
            return Ok(Response::from_parts(head, body));
        }
    }

    /// Those that are not too old.
    fn idle(&self) -> MutexGuard<'_, VecDeque<(Sender, Moment)>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while idle.front().is_some_and(|(_, since)| since.age() > self.longest_rest) {
            idle.pop_front();
        }
        idle
    }

    /// The connection that was used last: those that are not needed grow old and are closed.
    fn take(&self) -> Option<Sender> {
        let mut idle = self.idle();
        std::iter::from_fn(|| idle.pop_back()).map(|(sender, _)| sender).find(SendRequest::is_ready)
    }

    async fn connect(&self) -> Result<Sender, Error> {
        let mut connected = Err(io::Error::from(io::ErrorKind::NotFound));
        for address in self.addresses().await? {
            let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
            connected = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            if connected.is_ok() {
                break;
            }
        }
        if connected.is_err() {
            *self.known_addresses.lock().await = None;
        }
        let stream = connected.map_err(unreached("cannot connect"))?;
        // A request is one small write: it is not to wait for the answer to the last.
        stream.set_nodelay(true).map_err(unreached("cannot connect"))?;
        let Some((tls, name)) = &self.tls else { return speak(stream).await };
        match tls.connect(name.clone(), stream).await {
            Ok(stream) => speak(stream).await,
            Err(error) if is_untrusted(&error) => Err(Error::Untrusted(error)),
            Err(error) => Err(unreached("no TLS connection")(error)),
        }
    }

    /// All of them, beginning with any: one that does not answer is not everybody's first.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let mut known = self.known_addresses.lock().await;
        let (addresses, at) = match known.take().filter(|(_, at)| at.age() < ADDRESS_LIFE) {
            Some(known) => known,
            None => {
                let found = lookup_host((&*self.name, self.port)).await;
                (found.map_err(unreached("the host's name cannot be looked up"))?.collect(), Moment::now())
            }
        };
        let mut addresses = known.insert((addresses, at)).0.clone();
        let first = fastrand::usize(..addresses.len().max(1));
        addresses.rotate_left(first);
        Ok(addresses)
    }
}

/// A request of the SDK's under way. Without an answer, those connections go with it that nobody has used since it began:
/// after a freeze they may all be as dead as its own, and would cost an attempt each. Not so with posts, since a recipient
/// that hangs says nothing of the others.
struct Unanswered<'a> {
    host: &'a Host,
    began: Instant,
}

impl Unanswered<'_> {
    /// It has an answer.
    fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.host.idle().retain(|(_, since)| since.steady >= self.began);
    }
}

async fn speak<T>(stream: T) -> Result<Sender, Error>
where
    TokioIo<T>: Read + Write + Unpin + Send + 'static,
{
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(unreached("cannot speak HTTP"))?;
    // It ends with its sender, and what becomes of it the sender hears.
    tokio::spawn(connection);
    Ok(sender)
}

/// Whether a handshake failed because of the server's certificate.
fn is_untrusted(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// A client for one of the SDK's, which keeps to the timeouts of this module: whatever else the SDK sets bounds whole
/// calls. It talks to `host`, or else to the server of its first request, as a client of the SDK talks to one only.
pub(crate) fn for_sdk(tls: Tls, host: Option<Arc<Host>>) -> SharedHttpClient {
    let host = host.map_or_else(OnceLock::new, OnceLock::from);
    let connector = SharedHttpConnector::new(ForSdk { tls, host });
    http_client_fn(move |_, _| connector.clone())
}

#[derive(Debug)]
struct ForSdk {
    tls: Tls,
    host: OnceLock<Arc<Host>>,
}

impl ForSdk {
    fn prepare(&self, request: HttpRequest) -> anyhow::Result<(Arc<Host>, Request<Body>)> {
        let (mut head, body) = request.try_into_http1x()?.into_parts();
        let body = Bytes::copy_from_slice(body.bytes().context("only a body in memory can be sent")?);
        let host = match self.host.get() {
            Some(host) => host.clone(),
            None => {
                let host = Arc::new(Host::new(&head.uri, self.tls.clone(), LONGEST_REST)?);
                self.host.get_or_init(|| host).clone()
            }
        };
        head.uri = head.uri.path_and_query().context("the address has no path")?.as_str().parse()?;
        Ok((host, Request::from_parts(head, chained(body, Bytes::new()))))
    }
}

impl HttpConnector for ForSdk {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let prepared = self.prepare(request);
        HttpConnectorFuture::new(async move {
            let (host, request) = prepared.map_err(|error| ConnectorError::user(error.into()))?;
            let unanswered = Unanswered { host: &host, began: Instant::now() };
            match host.request(request, LARGEST_SDK_ANSWER).await.inspect(|_| unanswered.forget()) {
                Ok(response) => HttpResponse::try_from(response.map(SdkBody::from))
                    .map_err(|error| ConnectorError::other(error.into(), None)),
                Err(error @ Error::Untrusted(_)) => Err(ConnectorError::user(error.into())),
                Err(error @ (Error::Unreached(..) | Error::Lost(..))) => {
                    Err(ConnectorError::io(error.into()))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{config::Variables, tls};

    /// A server that answers every request with 200, and its address.
    async fn server() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
                    }
                });
            }
        });
        address
    }

    fn host(url: &str) -> Host {
        let tls = tls::config(&[], &Variables::of::<&str>(&[])).unwrap();
        Host::new(&url.parse().unwrap(), tls, Duration::from_secs(20)).unwrap()
    }

    async fn status(host: &Host) -> Result<u16, Error> {
        let request = Request::get("/").body(empty()).unwrap();
        host.request(request, 100).await.map(|response| response.status().as_u16())
    }

    #[test]
    fn the_host_is_named_as_every_client_names_it() {
        for (url, expected) in [
            ("http://a.example/x", "a.example"),
            ("http://a.example:80/x", "a.example"),
            ("https://a.example:443/x", "a.example"),
            ("https://a.example:80/x", "a.example:80"),
            ("http://127.0.0.1:443/x", "127.0.0.1:443"),
            ("http://[::1]:8443/x", "[::1]:8443"),
            ("http://[::1]/x", "[::1]"),
        ] {
            assert_eq!(host(url).authority(), expected);
        }
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_passed_over_and_an_idle_connection_serves_again() {
        let address = server().await;
        // Nothing listens there.
        let refusing = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
        for addresses in [vec![refusing, address], vec![address, refusing]] {
            let host = host(&format!("http://{address}"));
            *host.known_addresses.lock().await = Some((addresses, Moment::now()));
            for _ in 0..2 {
                assert_eq!(status(&host).await.unwrap(), 200);
                assert_eq!(host.open(), 1);
            }
        }
        let host = host(&format!("http://{refusing}"));
        assert!(matches!(status(&host).await, Err(Error::Unreached("cannot connect", _))));
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_and_a_rest_that_was_too_long_end_a_connection() {
        let host = host(&format!("http://{}", server().await));
        let request = Request::get("/").body(empty()).unwrap();
        assert!(host.request(request, 1).await.is_err());
        assert_eq!(host.open(), 0);
        status(&host).await.unwrap();
        let hour = Duration::from_secs(3600);
        // By the wall clock alone, as after a freeze.
        host.idle.lock().unwrap().iter_mut().for_each(|(_, since)| since.wall -= hour);
        assert_eq!(host.open(), 0);
    }
}
