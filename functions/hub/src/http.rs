//! The HTTP client beneath all others: HTTP/1.1 over hyper's pool, and TLS with `ring`.
//!
//! The SDK's own client, with HTTP/2 and proxies, and its loader of credentials (see `aws`) were a quarter of each zip,
//! for services that are asked over HTTP/1.1.

use std::{error::Error, time::Duration};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{
            HttpConnector as SdkConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
            http_client_fn,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
};
use aws_smithy_types::{body::SdkBody, retry::ErrorKind};
use http_body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::{config::Trust, tls};

/// A client of one's own for bodies `B`.
pub type Http<B> = Client<HttpsConnector<HttpConnector>, B>;

/// A client that trusts `trust`, waits `connect_timeout` for a server to take a connection, and uses none again that
/// has rested for longer than `longest_rest`.
///
/// # Errors
///
/// The certificates that it is to trust cannot be read.
pub fn client<B>(trust: &Trust, connect_timeout: Duration, longest_rest: Duration) -> anyhow::Result<Http<B>>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(connect_timeout));
    // A request is one small write: it is not to wait for the answer to the last.
    connector.set_nodelay(true);
    connector.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls::config(trust)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(longest_rest)
        .pool_max_idle_per_host(if longest_rest.is_zero() { 0 } else { usize::MAX })
        .build(connector))
}

/// A client as the AWS clients take it. It keeps to its own time-outs: whatever else they set bounds whole calls.
pub(crate) fn for_sdk(http: Http<SdkBody>) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(ForSdk(http));
    http_client_fn(move |_, _| connector.clone())
}

#[derive(Debug)]
struct ForSdk(Http<SdkBody>);

impl SdkConnector for ForSdk {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let answer = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let response = answer.await.map_err(|error| classified(error.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Tells the SDK whether another try may help.
fn classified(error: BoxError) -> ConnectorError {
    let hyper = source::<hyper::Error>(&*error);
    if hyper.is_some_and(hyper::Error::is_user) {
        ConnectorError::user(error)
    } else if hyper.is_some_and(hyper::Error::is_incomplete_message) {
        ConnectorError::other(error, Some(ErrorKind::TransientError))
    } else if hyper.is_some_and(|error| error.is_closed() || error.is_canceled())
        || source::<std::io::Error>(&*error).is_some()
    {
        ConnectorError::io(error)
    } else {
        ConnectorError::other(error, None)
    }
}

/// The first `E` among an error and its causes.
fn source<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    error.downcast_ref().or_else(|| source(error.source()?))
}
