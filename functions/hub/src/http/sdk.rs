//! The HTTP client of the AWS SDK, on the hub's own: the SDK's default client, with HTTP/2 and proxies, is a sixth of
//! each zip.

use std::sync::{Arc, OnceLock};

use anyhow::Context;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use http::Request;
use hyper::body::Bytes;
use tokio::time::Instant;

use super::{Body, Error, Host, LONGEST_IDLE, chained};
use crate::tls::Tls;

/// In bytes. A page of DynamoDB has 1 MB of data, and some JSON around it.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// An HTTP client for one client of the SDK. Connecting has the timeouts of the module above; the timeouts of the SDK
/// apply to whole calls. It talks to `host`, or else to the server of its first request, since a client of the SDK
/// talks to a single server.
pub(crate) fn client(tls: Tls, host: Option<Arc<Host>>) -> SharedHttpClient {
    let host = host.map_or_else(OnceLock::new, OnceLock::from);
    let connector = SharedHttpConnector::new(Connector { tls, host });
    http_client_fn(move |_, _| connector.clone())
}

#[derive(Debug)]
struct Connector {
    tls: Tls,
    host: OnceLock<Arc<Host>>,
}

impl Connector {
    fn prepare(&self, request: HttpRequest) -> anyhow::Result<(Arc<Host>, Request<Body>)> {
        let (mut head, body) = request.try_into_http1x()?.into_parts();
        let body = Bytes::copy_from_slice(body.bytes().context("only a body in memory can be sent")?);
        let host = match self.host.get() {
            Some(host) => host.clone(),
            None => {
                let host = Arc::new(Host::new(&head.uri, self.tls.clone(), LONGEST_IDLE)?);
                self.host.get_or_init(|| host).clone()
            }
        };
        head.uri = head.uri.path_and_query().context("the address has no path")?.as_str().parse()?;
        Ok((host, Request::from_parts(head, chained(body, Bytes::new()))))
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let prepared = self.prepare(request);
        HttpConnectorFuture::new(async move {
            let (host, request) = prepared.map_err(|error| ConnectorError::user(error.into()))?;
            let unanswered = Unanswered { host: &host, began: Instant::now() };
            match host.request(request, LARGEST_ANSWER).await.inspect(|_| unanswered.answered()) {
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

/// A request of the SDK under way. If it gets no answer, the connections that have been idle since before it began are
/// dropped: after a freeze they may all be dead, and each would cost an attempt. Posts do not do this, since one
/// recipient that hangs says nothing about the others.
struct Unanswered<'a> {
    host: &'a Host,
    began: Instant,
}

impl Unanswered<'_> {
    /// Notes that it has an answer.
    fn answered(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.host.idle().retain(|(_, since)| since.steady >= self.began);
    }
}
