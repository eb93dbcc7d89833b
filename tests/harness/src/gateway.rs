//! `@connections`: takes the frames that are posted and closes sockets, or does what the script says instead.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use hyper::{
    Method, Request,
    body::{Bytes, Incoming},
};
use percent_encoding::percent_decode_str;

use crate::{
    http::{Answer, Cut, Reply, error, reply},
    signature::Signatures,
};

/// The largest message that API Gateway takes, in bytes.
const LARGEST: usize = 128 * 1024;

type Script = Box<dyn FnMut(&str, u32) -> Answer + Send>;
type CloseScript = Box<dyn FnMut(&str) -> Answer + Send>;

/// One post, as it arrived.
#[derive(Debug, Clone)]
pub struct Post {
    /// The connection it is for.
    pub connection: Arc<str>,
    /// When its head had arrived.
    pub at: Instant,
    /// The client's end of the TCP connection that it came over.
    pub peer: SocketAddr,
    /// Its body; empty if the connection was cut before that was read.
    pub frame: Bytes,
    /// Whether the gateway took the frame, even if its answer was lost.
    pub taken: bool,
}

/// The connections behind `@connections`.
pub struct Gateway {
    signatures: Arc<Signatures>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    script: Option<Script>,
    close_script: Option<CloseScript>,
    closings: Vec<String>,
    before: HashMap<Arc<str>, u32>,
    posts: Vec<Post>,
    last_frame: Bytes,
    quota: Option<Quota>,
}

/// What an account may ask of API Gateway: a token for each request, `rate` new ones a second, and `burst` at most.
struct Quota {
    rate: f64,
    burst: f64,
    left: f64,
    at: Instant,
}

impl Quota {
    /// Takes a token, if there is one.
    fn draw(&mut self, now: Instant) -> bool {
        self.left = (self.left + self.rate * (now - self.at).as_secs_f64()).min(self.burst);
        self.at = now;
        let is_granted = self.left >= 1.0;
        if is_granted {
            self.left -= 1.0;
        }
        is_granted
    }
}

impl Gateway {
    pub(crate) fn new(signatures: Arc<Signatures>) -> Self {
        Self { signatures, state: Mutex::default() }
    }

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

    /// Answers each request to close a socket as `script` says, given the connection. Without a script every socket
    /// is closed.
    pub fn close_script(&self, script: impl FnMut(&str) -> Answer + Send + 'static) {
        self.state().close_script = Some(Box::new(script));
    }

    /// Gives the account so many requests a second from now on, and `burst` at once: what is beyond is answered with 429,
    /// whatever a script says.
    pub fn quota(&self, rate: f64, burst: f64) {
        self.state().quota = Some(Quota { rate, burst, left: burst, at: Instant::now() });
    }

    /// Takes a client's handshake, unless the account has used its quota up.
    #[must_use]
    pub fn handshake(&self) -> bool {
        self.state().draw()
    }

    /// The connections that were to be closed, in the order of arrival.
    #[must_use]
    pub fn closings(&self) -> Vec<String> {
        self.state().closings.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a script should not panic")
    }

    pub(crate) async fn call(&self, request: Request<Incoming>) -> Result<Reply, Cut> {
        let (head, body) = request.into_parts();
        let path = percent_decode_str(head.uri.path()).decode_utf8_lossy().into_owned();
        let Some(connection) = path.strip_prefix("/live/@connections/") else {
            return Ok(error(404, "NotFoundException"));
        };
        match head.method {
            Method::POST => {
                let (answer, connection) = self.state().begin(connection);
                let at = Instant::now();
                let frame = answer.read(body).await?;
                if let Some(refusal) =
                    self.signatures.refusal(&head, &frame, "execute-api").filter(|_| !answer.is_unread())
                {
                    return Ok(refusal);
                }
                let size = frame.len();
                let peer = *head.extensions.get::<SocketAddr>().expect("the server knows its clients");
                let number = self.state().record(Post { connection, at, peer, frame, taken: false });
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
            Method::DELETE => {
                if let Some(refusal) = self.signatures.refusal(&head, &[], "execute-api") {
                    return Ok(refusal);
                }
                let answer = self.state().close(connection);
                answer.reply(|| reply(204, Bytes::new())).await
            }
            _ => Ok(error(404, "NotFoundException")),
        }
    }
}

impl State {
    fn begin(&mut self, connection: &str) -> (Answer, Arc<str>) {
        let (connection, before) = match self.before.get_key_value(connection) {
            Some((known, before)) => (known.clone(), *before),
            None => (connection.into(), 0),
        };
        self.before.insert(connection.clone(), before + 1);
        let answer = self.script.as_mut().map_or(Answer::Serve, |script| script(&connection, before));
        let answer = if self.draw() { answer } else { Answer::Error(429, "LimitExceededException") };
        (answer, connection)
    }

    fn draw(&mut self) -> bool {
        self.quota.as_mut().is_none_or(|quota| quota.draw(Instant::now()))
    }

    fn close(&mut self, connection: &str) -> Answer {
        self.closings.push(connection.to_owned());
        self.close_script.as_mut().map_or(Answer::Serve, |script| script(connection))
    }

    /// A frame that equals the last one shares its memory, so that 100,000 posts of one frame stay small.
    fn record(&mut self, mut post: Post) -> usize {
        if post.frame != self.last_frame && !post.frame.is_empty() {
            self.last_frame = post.frame.clone();
        }
        if !post.frame.is_empty() {
            post.frame = self.last_frame.clone();
        }
        self.posts.push(post);
        self.posts.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_quota_grants_its_burst_at_once_and_its_rate_from_then_on() {
        let at = Instant::now();
        let mut quota = Quota { rate: 10.0, burst: 3.0, left: 3.0, at };
        let mut granted =
            |millis: u64| (0..100).take_while(|_| quota.draw(at + Duration::from_millis(millis))).count();
        assert_eq!([0, 50, 110, 310, 9_000].map(&mut granted), [3, 0, 1, 2, 3]);
    }
}
