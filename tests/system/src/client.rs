//! A WebSocket client of the hub that fails its test as soon as the hub keeps it waiting.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{ClientRequestBuilder, Error, Message, http::StatusCode},
};

use crate::{
    recorder::Recorder,
    stack::{required, unique},
};

/// How long any one answer may take: more than a cold start on a busy machine, less than a reader's patience.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    pub(crate) session: String,
    /// How long the next frame may be in coming.
    pub(crate) patience: Duration,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    recorder: Recorder,
}

impl Client {
    /// A client in a session that no other test knows.
    pub(crate) async fn new(name: &str) -> Self {
        Self::in_session(&unique(name)).await
    }

    pub(crate) async fn in_session(session: &str) -> Self {
        Self::through(session, &format!("?session_id={}", encoded(session))).await
    }

    /// A client that enters with this query string, and is then in `session`.
    pub(crate) async fn through(session: &str, query: &str) -> Self {
        match handshake(query).await {
            Ok(socket) => {
                let recorder = Recorder::new("socket");
                Self { session: session.to_owned(), patience: PATIENCE, socket, recorder }
            }
            Err(status) => panic!("the handshake of session {session} was refused with {status}"),
        }
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, frame: &str) {
        self.send_raw(Message::text(frame)).await;
    }

    pub(crate) async fn send_raw(&mut self, frame: Message) {
        // A binary frame is none of the protocol's: it ends the connection without an answer.
        if let Message::Text(text) = &frame {
            self.recorder.record("client", text);
        }
        self.socket.send(frame).await.expect("the socket should be open");
    }

    /// Sends `message` to `sessions` and returns the answer: the receipt, or an error frame.
    pub(crate) async fn publish(&mut self, sessions: &[&str], message: Value) -> Value {
        self.ask(json!({"action": "sendMessage", "sessions": sessions, "message": message})).await
    }

    /// Sends a frame and returns the next one that arrives.
    pub(crate) async fn ask(&mut self, frame: Value) -> Value {
        self.send(frame).await;
        self.receive().await
    }

    pub(crate) async fn receive(&mut self) -> Value {
        let frame = self.receive_text().await;
        serde_json::from_str(&frame).unwrap_or_else(|error| panic!("not JSON ({error}): {frame}"))
    }

    pub(crate) async fn receive_text(&mut self) -> String {
        match self.receive_raw().await {
            Message::Text(text) => text.to_string(),
            other => panic!("{} expected a text frame and got {other:?}", self.session),
        }
    }

    pub(crate) async fn receive_raw(&mut self) -> Message {
        let what = format!("a frame for {}", self.session);
        let frame = in_time_of(self.patience, &what, self.next()).await;
        frame.expect("the socket should stay open").expect("the socket should not break")
    }

    async fn next(&mut self) -> Option<Result<Message, Error>> {
        let frame = self.socket.next().await;
        if let Some(Ok(Message::Text(text))) = &frame {
            self.recorder.record("hub", text);
        }
        frame
    }

    /// Proves that nothing has arrived since the last frame that was read. A socket's frames arrive in the order in
    /// which they were posted, so what this client now sends to itself must be the first thing that it hears.
    pub(crate) async fn assert_heard_nothing(mut self) {
        let sentinel = unique("sentinel");
        let session = self.session.clone();
        let first = self
            .ask(json!({"action": "sendMessage", "sessions": [session], "message": null, "id": sentinel}))
            .await;
        assert_eq!(first["id"], sentinel, "{session} should have heard nothing");
    }

    pub(crate) async fn leave(mut self) {
        self.socket.close(None).await.expect("the socket should be open");
        self.wait_for_end().await;
    }

    pub(crate) async fn wait_for_end(mut self) {
        while let Some(Ok(_)) = in_time("the end of the socket", self.next()).await {}
    }
}

/// A session as it stands in an address.
pub(crate) fn encoded(session: &str) -> String {
    utf8_percent_encode(session, NON_ALPHANUMERIC).to_string()
}

/// Opens a socket with this query string; refused, it is the status of the answer.
pub(crate) async fn handshake(query: &str) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, StatusCode> {
    match handshake_with(query, |request| request).await {
        Ok(socket) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status()),
        Err(error) => panic!("cannot reach the hub: {error}. Is the stack up?"),
    }
}

/// The same with headers, and with all that may go wrong.
pub(crate) async fn handshake_with(
    query: &str,
    headers: impl FnOnce(ClientRequestBuilder) -> ClientRequestBuilder,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, Error> {
    let url = format!("{}{query}", required("HUB_URL"));
    let request = ClientRequestBuilder::new(url.parse().expect("HUB_URL should be a URL"));
    in_time("the handshake", connect_async(headers(request))).await.map(|(socket, _)| socket)
}

pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    in_time_of(PATIENCE, what, Box::pin(future)).await
}

async fn in_time_of<T>(patience: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(patience, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {patience:?} for {what}"),
    }
}

/// Asks again until there is an answer, for what AWS promises only eventually.
pub(crate) async fn eventually<T>(what: &str, question: impl AsyncFn() -> Option<T>) -> T {
    in_time(what, async {
        loop {
            if let Some(answer) = question().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}
