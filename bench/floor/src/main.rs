//! A minimal program that does what the send-message function does: it takes an event from Lambda's Runtime API,
//! finds the connections of its sessions with DynamoDB's Query, and posts to each through `@connections`.
//!
//! It implements the three protocols itself, over hyper and aws-sigv4, and promises nothing: no retry, no timeout, no
//! pruning, no receipt. The real function's extra cost is that of the AWS SDK, Lambda's runtime crate, and the promises
//! of `docs/delivery.md`.

use std::{cell::RefCell, env, error::Error, fs, sync::Arc, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The part of an event that is read.
#[derive(Deserialize)]
struct Event {
    body: String,
}

#[derive(Deserialize)]
struct Frame<'a> {
    sessions: Vec<String>,
    #[serde(borrow)]
    message: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    items: Vec<Item>,
    last_evaluated_key: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Item {
    connection_id: Text,
}

#[derive(Deserialize)]
struct Text {
    #[serde(rename = "S")]
    text: String,
}

/// A server, and the idle connections to it.
struct Host {
    tls: Option<TlsConnector>,
    authority: String,
    idle: RefCell<Vec<SendRequest<Full<Bytes>>>>,
}

impl Host {
    /// The server of `url`, and the path in `url`.
    fn of(url: &str) -> Result<(Self, String)> {
        let (scheme, rest) = url.split_once("://").ok_or("an endpoint is no URL")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let tls = if scheme == "https" { Some(tls()?) } else { None };
        Ok((Self { tls, authority: authority.to_owned(), idle: RefCell::default() }, format!("/{path}")))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            return Ok(sender);
        };
        let name = self.authority.split(':').next().unwrap_or_default().to_owned();
        let stream = tls.connect(ServerName::try_from(name)?, stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn call(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        let idle = self.idle.borrow_mut().pop();
        let mut sender = match idle {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.connect().await?,
        };
        let (head, body): (_, Incoming) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        // hyper accepts the next request only after its own task has seen the end of this answer.
        sender.ready().await?;
        self.idle.borrow_mut().push(sender);
        Ok(Response::from_parts(head, body))
    }
}

fn tls() -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&fs::read(env::var("AWS_CA_BUNDLE")?)?) {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

struct Floor {
    credentials: Credentials,
    region: String,
    table: String,
    index: String,
    concurrency: usize,
    dynamodb: Host,
    gateway: Host,
    stage: String,
}

impl Floor {
    fn from_env() -> Result<Self> {
        let (dynamodb, _) = Host::of(&env::var("AWS_ENDPOINT_URL")?)?;
        let (gateway, stage) = Host::of(&env::var("WEBSOCKET_ENDPOINT")?)?;
        let key = |name| env::var(name);
        Ok(Self {
            credentials: Credentials::from_keys(
                key("AWS_ACCESS_KEY_ID")?,
                key("AWS_SECRET_ACCESS_KEY")?,
                key("AWS_SESSION_TOKEN").ok(),
            ),
            region: env::var("AWS_REGION")?,
            table: env::var("TABLE_NAME")?,
            index: env::var("SESSION_INDEX")?,
            concurrency: env::var("FANOUT_CONCURRENCY")?.parse()?,
            dynamodb,
            gateway,
            stage,
        })
    }

    /// A signed POST.
    async fn post(
        &self,
        (host, service): (&Host, &str),
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Bytes> {
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let scheme = if host.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}{path}", host.authority);
        let signable =
            SignableRequest::new("POST", url, headers.iter().copied(), SignableBody::Bytes(&body))?;
        let (instructions, _) = sign(signable, &params)?.into_parts();

        let mut request = Request::post(path).header("host", &host.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Full::new(body))?;
        instructions.apply_to_request_http1x(&mut request);
        let response = host.call(request).await?;
        if !response.status().is_success() {
            return Err(format!("{service} answered {}", response.status()).into());
        }
        Ok(response.into_body())
    }

    async fn page(&self, session: &str, from: Option<Box<RawValue>>) -> Result<Page> {
        let query = json!({
            "TableName": self.table,
            "IndexName": self.index,
            "KeyConditionExpression": "session_id = :session",
            "ExpressionAttributeValues": { ":session": { "S": session } },
            "ProjectionExpression": "connection_id",
            "Limit": 1000,
            // DynamoDB treats null as a missing key.
            "ExclusiveStartKey": from,
        });
        let headers =
            [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "DynamoDB_20120810.Query")];
        let answer = self.post((&self.dynamodb, "dynamodb"), "/", &headers, query.to_string().into()).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Posts the frame's message to every connection of its sessions, and returns how many there were.
    async fn deliver(&self, frame: &str) -> Result<usize> {
        let frame: Frame = serde_json::from_str(frame)?;
        let delivery = Bytes::from(format!(r#"{{"type":"message","message":{}}}"#, frame.message));
        let delivery = &delivery;
        let pages = stream::iter(&frame.sessions).flat_map(|session| {
            stream::try_unfold(Some(None), move |from| async move {
                let Some(from) = from else { return Ok(None) };
                let page = self.page(session, from).await?;
                Ok::<_, Box<dyn Error>>(Some((page.items, page.last_evaluated_key.map(Some))))
            })
        });
        pages
            .map_ok(|items| stream::iter(items).map(Ok))
            .try_flatten()
            .map_ok(|item: Item| async move {
                let id = utf8_percent_encode(&item.connection_id.text, NON_ALPHANUMERIC);
                let path = format!("{}/@connections/{id}", self.stage);
                self.post((&self.gateway, "execute-api"), &path, &[], delivery.clone()).await
            })
            .try_buffer_unordered(self.concurrency)
            .try_fold(0, async |count, _| Ok(count + 1))
            .await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let floor = Floor::from_env()?;
    let (lambda, _) = Host::of(&format!("http://{}", env::var("AWS_LAMBDA_RUNTIME_API")?))?;
    let invocation = "/2018-06-01/runtime/invocation";
    loop {
        let next = Request::get(format!("{invocation}/next")).header("host", &lambda.authority);
        let next = lambda.call(next.body(Full::default())?).await?;
        let id = next.headers().get("lambda-runtime-aws-request-id").ok_or("an event has no id")?;
        let path = format!("{invocation}/{}/response", id.to_str()?);

        let event: Event = serde_json::from_slice(next.body())?;
        let delivered = floor.deliver(&event.body).await?;
        let answer = json!({ "statusCode": 200, "body": json!({ "delivered": delivered }).to_string() });

        let answer = Full::new(answer.to_string().into());
        lambda.call(Request::post(path).header("host", &lambda.authority).body(answer)?).await?;
    }
}
