//! An HTTP/1.1 client for one server: idle connections are kept for the next request, and one address lookup serves all
//! of them.

pub(crate) mod sdk;

use std::{
    collections::VecDeque,
    error::Error as StdError,
    fmt, io,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
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
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{clock::Moment, tls::Tls};

/// How long addresses are used before the host name is looked up again.
const ADDRESS_LIFE: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection to AWS that has been idle for longer is not used again. If it died unnoticed, as in a freeze, it would
/// cost an attempt the whole timeout, and a single recipient might meet dozens of such connections in turn.
pub(crate) const LONGEST_IDLE: Duration = Duration::from_secs(20);

/// A request's body in two pieces, of which many requests may share the first.
pub type Body = Full<Chain<Bytes, Bytes>>;
type Sender = SendRequest<Body>;

/// A body of two pieces.
#[must_use]
pub fn chained(start: Bytes, end: Bytes) -> Body {
    Full::new(start.chain(end))
}

/// An empty body.
#[must_use]
pub fn empty() -> Body {
    chained(Bytes::new(), Bytes::new())
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No trust anchor covers the server's certificate: another attempt would end the same way.
    #[error(
        "the server's certificate is not trusted; AWS_CA_BUNDLE can name a PEM file with other trust anchors"
    )]
    Untrusted(#[source] io::Error),
    /// There was no connection. Another attempt may succeed.
    #[error("{0}")]
    Unreached(&'static str, #[source] Box<dyn StdError + Send + Sync>),
    /// The connection broke, and the server may have received the request. Another attempt may succeed.
    #[error("{0}")]
    Lost(&'static str, #[source] Box<dyn StdError + Send + Sync>),
}

fn unreached<E: Into<Box<dyn StdError + Send + Sync>>>(when: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Unreached(when, error.into())
}

fn lost<E: Into<Box<dyn StdError + Send + Sync>>>(when: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Lost(when, error.into())
}

/// A server, and the idle connections to it.
pub struct Host {
    tls: Option<(TlsConnector, ServerName<'static>)>,
    authority: HeaderValue,
    name: String,
    port: u16,
    longest_idle: Duration,
    idle: Mutex<VecDeque<(Sender, Moment)>>,
    /// An async lock, so that requests that connect at the same time wait for one lookup.
    known_addresses: tokio::sync::Mutex<Option<(Vec<SocketAddr>, Moment)>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Host {
    /// The server of an `http://` or `https://` address. A connection that has been idle for `longest_idle` is not used
    /// again.
    ///
    /// # Errors
    ///
    /// The address names no host.
    pub fn new(url: &Uri, tls: Tls, longest_idle: Duration) -> anyhow::Result<Self> {
        let authority = url.authority().context("the address names no host")?;
        let name = authority.host().trim_matches(['[', ']']).to_owned();
        let encrypted = url.scheme_str() == Some("https");
        let default_port = if encrypted { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(default_port);
        let server_name = encrypted.then(|| ServerName::try_from(name.clone())).transpose()?;
        // Without the default port, as every client sends and signs it.
        let authority = if port == default_port { authority.host() } else { authority.as_str() };
        Ok(Self {
            tls: server_name.map(|name| (tls.into(), name)),
            authority: authority.parse()?,
            name,
            port,
            longest_idle,
            idle: Mutex::default(),
            known_addresses: tokio::sync::Mutex::default(),
        })
    }

    /// The value of the header `host`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.authority.to_str().unwrap_or_default()
    }

    /// How many connections are idle and may be used again.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.idle().len()
    }

    /// Sends a request, whose address is a path, and reads the whole answer, of at most `largest` bytes.
    ///
    /// The connection is used again unless the answer is a server error. Dropping the future closes the connection.
    ///
    /// # Errors
    ///
    /// There was no answer, or it was incomplete or too long.
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
                    // The server closed the idle connection before it received the request.
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
            let body = body.map_err(lost("the answer is incomplete or too long"))?.to_bytes();
            let has_failed = head.status.is_server_error() || head.status == StatusCode::REQUEST_TIMEOUT;
            if !has_failed && !self.longest_idle.is_zero() && sender.ready().await.is_ok() {
                self.idle().push_back((sender, Moment::now()));
            }
            return Ok(Response::from_parts(head, body));
        }
    }

    /// The idle connections that may be used again.
    fn idle(&self) -> MutexGuard<'_, VecDeque<(Sender, Moment)>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while idle.front().is_some_and(|(_, since)| since.age() > self.longest_idle) {
            idle.pop_front();
        }
        idle
    }

    /// Takes the connection that was used last, so that those beyond the need grow old and are closed.
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
        // A request is one small write, which must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true).map_err(unreached("cannot connect"))?;
        let Some((tls, name)) = &self.tls else { return speak(stream).await };
        match tls.connect(name.clone(), stream).await {
            Ok(stream) => speak(stream).await,
            Err(error) if is_untrusted(&error) => Err(Error::Untrusted(error)),
            Err(error) => Err(unreached("no TLS connection")(error)),
        }
    }

    /// All addresses, from a random one on: a dead address must not be the first for every connection.
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

async fn speak<T>(stream: T) -> Result<Sender, Error>
where
    TokioIo<T>: Read + Write + Unpin + Send + 'static,
{
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(unreached("cannot speak HTTP"))?;
    // The task ends with its sender, which also gets the errors.
    tokio::spawn(connection);
    Ok(sender)
}

/// Whether a handshake failed because of the server's certificate.
fn is_untrusted(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
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
    fn the_host_header_omits_the_default_port() {
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
    async fn an_address_that_refuses_is_skipped_and_an_idle_connection_is_used_again() {
        let address = server().await;
        // Nothing listens there.
        let refusing = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
        for addresses in [vec![refusing, address], vec![address, refusing]] {
            let host = host(&format!("http://{address}"));
            *host.known_addresses.lock().await = Some((addresses, Moment::now()));
            for _ in 0..2 {
                assert_eq!(status(&host).await.unwrap(), 200);
                assert_eq!(host.idle_connections(), 1);
            }
        }
        let host = host(&format!("http://{refusing}"));
        assert!(matches!(status(&host).await, Err(Error::Unreached("cannot connect", _))));
    }

    #[tokio::test]
    async fn a_connection_ends_after_too_long_an_answer_or_too_long_an_idle_time() {
        let host = host(&format!("http://{}", server().await));
        let request = Request::get("/").body(empty()).unwrap();
        assert!(host.request(request, 1).await.is_err());
        assert_eq!(host.idle_connections(), 0);
        status(&host).await.unwrap();
        let hour = Duration::from_secs(3600);
        // By the wall clock alone, as after a freeze.
        host.idle.lock().unwrap().iter_mut().for_each(|(_, since)| since.wall -= hour);
        assert_eq!(host.idle_connections(), 0);
    }
}
