//! `@connections`: takes the frames that are posted, or does what the script says instead.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use hyper::{
    Method, Request,
    body::{Bytes, Incoming},
    header::{HeaderMap, HeaderName},
};

use percent_encoding::percent_decode_str;

use crate::http::{Answer, Cut, Reply, error, reply};

/// The largest message that API Gateway takes, in bytes.
const LARGEST: usize = 128 * 1024;

type Script = Box<dyn FnMut(&str, u32) -> Answer + Send>;

/// One post, as it arrived.
#[derive(Debug, Clone)]
pub struct Post {
    /// The connection it is for.
    pub connection: Arc<str>,
    /// When its head had arrived.
    pub at: Instant,
    /// Its body; empty if the connection was cut before that was read.
    pub frame: Bytes,
    /// Whether the gateway took the frame, even if its answer was lost.
    pub taken: bool,
}

/// The connections behind `@connections`.
#[derive(Default)]
pub struct Gateway(Mutex<State>);

#[derive(Default)]
struct State {
    script: Option<Script>,
    tries: HashMap<Arc<str>, u32>,
    posts: Vec<Post>,
    last_frame: Bytes,
}

impl Gateway {
    /// Answers each post as `script` says, given the connection and how many posts to it came before. Without a
    /// script every frame is taken.
    pub fn script(&self, script: impl FnMut(&str, u32) -> Answer + Send + 'static) {
        self.state().script = Some(Box::new(script));
    }

    /// Every post so far, in the order of arrival.
    #[must_use]
    pub fn posts(&self) -> Vec<Post> {
        self.state().posts.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("a script should not panic")
    }

    pub(crate) async fn call(&self, request: Request<Incoming>) -> Result<Reply, Cut> {
        let path = percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
        let (Some(connection), &Method::POST) = (path.strip_prefix("/live/@connections/"), request.method())
        else {
            return Ok(error(404, "NotFoundException"));
        };
        if !is_signed(request.headers()) {
            return Ok(error(403, "MissingAuthenticationTokenException"));
        }
        let (answer, connection) = self.state().begin(connection);
        let at = Instant::now();
        let frame = answer.read(request).await?;
        let size = frame.len();
        let number = self.state().record(connection, at, frame);
        let serve = || {
            if size > LARGEST {
                return reply(413, Bytes::new());
            }
            if let Some(post) = self.state().posts.get_mut(number) {
                post.taken = true;
            }
            reply(200, Bytes::new())
        };
        answer.reply(serve).await
    }
}

/// Whether there is a signature for the host and for each header that AWS wants signed. Not whether it is right.
fn is_signed(headers: &HeaderMap) -> bool {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    let Some((_, rest)) = authorization.and_then(|text| text.split_once("SignedHeaders=")) else {
        return false;
    };
    let signed: Vec<&str> = rest.split(',').next().unwrap_or_default().split(';').collect();
    let mut must = headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("x-amz-"));
    headers.contains_key("x-amz-date") && signed.contains(&"host") && must.all(|name| signed.contains(&name))
}

impl State {
    fn begin(&mut self, connection: &str) -> (Answer, Arc<str>) {
        let (connection, tries) = match self.tries.get_key_value(connection) {
            Some((known, tries)) => (known.clone(), *tries),
            None => (connection.into(), 0),
        };
        self.tries.insert(connection.clone(), tries + 1);
        let answer = self.script.as_mut().map_or(Answer::Serve, |script| script(&connection, tries));
        (answer, connection)
    }

    /// A frame that equals the last one shares its memory, so that 100,000 posts of one frame stay small.
    fn record(&mut self, connection: Arc<str>, at: Instant, frame: Bytes) -> usize {
        if frame != self.last_frame && !frame.is_empty() {
            self.last_frame = frame.clone();
        }
        let frame = if frame.is_empty() { frame } else { self.last_frame.clone() };
        self.posts.push(Post { connection, at, frame, taken: false });
        self.posts.len() - 1
    }
}
