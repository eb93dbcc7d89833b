//! The delivery rules, on the SDK's real clients with scripted answers and a clock that does not wait.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use aws_sdk_apigatewaymanagement as management;
use aws_sdk_dynamodb::{
    self as dynamodb,
    operation::{
        delete_item::{DeleteItemError, DeleteItemOutput},
        query::{QueryError, QueryOutput},
    },
    types::{AttributeValue, error::ConditionalCheckFailedException},
};
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};
use aws_smithy_runtime_api::{client::orchestrator::HttpResponse, http::StatusCode};
use aws_smithy_types::body::SdkBody;

use super::*;
use crate::{config::Config, connections::Gateway};

/// What the gateway answers to the posts of one connection, the last answer again and again.
type Script = VecDeque<u16>;

/// Rows of a page as (connection, age in seconds); `None` is a page that cannot be read.
type PageRows = Option<Vec<(String, i64)>>;

/// A table and a gateway that do as they are told and remember what was asked of them.
#[derive(Default)]
struct World {
    pages: BTreeMap<&'static str, Vec<PageRows>>,
    scripts: Mutex<BTreeMap<String, Script>>,
    posts: Mutex<BTreeMap<String, u32>>,
    deleted: Mutex<Vec<String>>,
    delete_fails: bool,
    /// Connections whose token has ended, and those of them that the gateway was asked to close.
    expired: Vec<&'static str>,
    closed: Mutex<Vec<String>>,
    posted_before_closing: Mutex<Option<u32>>,
}

impl World {
    fn session(mut self, session: &'static str, rows: &[(&str, i64, &[u16])]) -> Self {
        let page = rows.iter().map(|(id, age, _)| ((*id).to_owned(), *age)).collect();
        self.pages.entry(session).or_default().push(Some(page));
        for (id, _, script) in rows {
            self.scripts.get_mut().unwrap().insert((*id).to_owned(), script.iter().copied().collect());
        }
        self
    }

    fn broken_page(mut self, session: &'static str) -> Self {
        self.pages.entry(session).or_default().push(None);
        self
    }

    fn post(&self, id: &str) -> u16 {
        *self.posts.lock().unwrap().entry(id.to_owned()).or_default() += 1;
        let mut scripts = self.scripts.lock().unwrap();
        let script = scripts.get_mut(id).expect("a post to a connection of these sessions");
        if script.len() > 1 { script.pop_front().unwrap() } else { script[0] }
    }

    fn query(&self, session: &str, page: usize) -> Option<QueryOutput> {
        let pages = self.pages.get(session).map_or(&[][..], Vec::as_slice);
        let s = |text: &str| AttributeValue::S(text.to_owned());
        let n = |number: i64| AttributeValue::N(number.to_string());
        let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        let items = match pages.get(page) {
            None => vec![],
            Some(None) => return None,
            Some(Some(rows)) => rows
                .iter()
                .map(|(id, age)| {
                    let left = if self.expired.contains(&id.as_str()) { -1 } else { 60 };
                    [
                        ("connection_id", s(id)),
                        ("connected_at", n(now - age * 1000)),
                        ("expires_at", n(now / 1000 + left)),
                    ]
                    .map(|(name, value)| (name.to_owned(), value))
                    .into()
                })
                .collect(),
        };
        let next = (page + 1 < pages.len()).then(|| [("page".to_owned(), s(&(page + 1).to_string()))].into());
        Some(QueryOutput::builder().set_items(Some(items)).set_last_evaluated_key(next).build())
    }

    async fn deliver(self, sessions: &[&str], sender: Option<&str>, time: Range<Duration>) -> Run {
        let world = Arc::new(self);
        let config = Config { require_grant: !world.expired.is_empty(), ..config() };

        let table = world.clone();
        let query = mock!(dynamodb::Client::query).then_compute_response(move |input| {
            let session = input.expression_attribute_values().unwrap()[":session"].as_s().unwrap();
            let page =
                input.exclusive_start_key().map_or(0, |key| key["page"].as_s().unwrap().parse().unwrap());
            table.query(session, page).map_or_else(
                || MockResponse::Error(QueryError::unhandled("the page is broken")),
                MockResponse::Output,
            )
        });
        let table = world.clone();
        let delete = mock!(dynamodb::Client::delete_item).then_compute_response(move |input| {
            assert_eq!(input.condition_expression(), Some("connected_at < :cutoff"));
            table.deleted.lock().unwrap().push(input.key().unwrap()["connection_id"].as_s().unwrap().clone());
            if table.delete_fails {
                return MockResponse::Error(DeleteItemError::unhandled("no capacity"));
            }
            MockResponse::Output(DeleteItemOutput::builder().build())
        });
        let client = mock_client!(dynamodb, RuleMode::MatchAny, [&query, &delete]);
        let registry = Registry::from_conf(client.config().to_builder(), &config);

        let gateway = world.clone();
        let post = mock!(management::Client::post_to_connection).then_compute_response(move |input| {
            assert_eq!(input.data().unwrap().as_ref(), b"frame");
            let status = gateway.post(input.connection_id().unwrap());
            MockResponse::Http(HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty()))
        });
        let gateway = world.clone();
        let close = mock!(management::Client::delete_connection).then_compute_response(move |input| {
            let id = input.connection_id().unwrap();
            gateway.closed.lock().unwrap().push(id.to_owned());
            let posted = gateway.posts.lock().unwrap().values().sum();
            gateway.posted_before_closing.lock().unwrap().get_or_insert(posted);
            let status = gateway.scripts.lock().unwrap()[id][0];
            MockResponse::Http(HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty()))
        });
        let client = mock_client!(management, RuleMode::MatchAny, [&post, &close]);
        let gateway = Gateway::from_conf(client.config().to_builder(), &config);

        let now = Instant::now();
        let fanout = Fanout {
            registry: &registry,
            connections: &gateway.connections(None).await.unwrap(),
            concurrency: config.fanout_concurrency,
            sender,
            deadline: Deadline {
                post_until: now + time.start,
                answer_by: now + time.end,
                notice_by: now + time.end,
            },
        };
        let sessions = sessions.iter().map(|name| SessionId::parse(name).unwrap()).collect();
        let (report, result) = fanout.deliver(sessions, b"frame").await;
        let posts = world.posts.lock().unwrap().clone();
        let deleted = world.deleted.lock().unwrap().clone();
        let closed = world.closed.lock().unwrap().clone();
        let posted_before_closing = *world.posted_before_closing.lock().unwrap();
        Run { report, result, posts, deleted, closed, posted_before_closing, took: now.elapsed() }
    }
}

struct Run {
    report: Report,
    result: Result<(), Failure>,
    posts: BTreeMap<String, u32>,
    deleted: Vec<String>,
    closed: Vec<String>,
    posted_before_closing: Option<u32>,
    took: Duration,
}

impl Run {
    /// (delivered, gone, failed) of each session.
    fn tallies(&self) -> Vec<(u64, u64, u64)> {
        self.report.sessions.iter().map(|s| (s.tally.delivered, s.tally.gone, s.tally.failed)).collect()
    }
}

fn config() -> Config {
    let variables = [
        ("TABLE_NAME", "connections"),
        ("FANOUT_CONCURRENCY", "4"),
        ("WEBSOCKET_ENDPOINT", "https://example.com/live"),
    ];
    Config::from_lookup(|name| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into())
    })
    .unwrap()
}

const LONG: Duration = Duration::from_secs(20);
const LONGER: Duration = Duration::from_secs(21);
const OLD: i64 = 60;
const FRESH: i64 = 2;

#[tokio::test(start_paused = true)]
async fn every_page_of_every_session_is_delivered_and_counted_apart() {
    let run = World::default()
        .session("a", &[("a1", OLD, &[200]), ("a2", OLD, &[200])])
        .session("a", &[("a3", OLD, &[200])])
        .session("b", &[("b1", OLD, &[200])])
        .deliver(&["b", "nobody", "a"], None, LONG..LONGER)
        .await;
    run.result.as_ref().unwrap();
    assert_eq!(run.tallies(), [(1, 0, 0), (0, 0, 0), (3, 0, 0)]);
    assert_eq!(run.posts.values().sum::<u32>(), 4);
    assert_eq!(run.report.retries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_410_is_asked_about_twice_then_counted_and_pruned() {
    let run = World::default()
        .session(
            "a",
            &[
                ("stale", OLD, &[410]),
                ("alive", OLD, &[410, 200]),
                ("fresh", FRESH, &[410]),
                ("me", OLD, &[410]),
            ],
        )
        .deliver(&["a"], Some("me"), LONG..LONGER)
        .await;
    assert_eq!(run.tallies(), [(1, 3, 0)]);
    assert_eq!(run.deleted, ["stale"], "neither the young row nor the sender's");
    assert_eq!(run.report.pruned, 1);
    assert_eq!(run.posts["stale"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_prune_changes_nothing_in_the_receipt() {
    let world = World { delete_fails: true, ..World::default() };
    let run = world.session("a", &[("stale", OLD, &[410])]).deliver(&["a"], None, LONG..LONGER).await;
    run.result.as_ref().unwrap();
    assert_eq!(run.tallies(), [(0, 1, 0)]);
    assert_eq!((run.report.pruned, run.report.prune_failures.count), (0, 1));
    assert_eq!(run.deleted.len(), 1, "a prune is tried once");
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_token_has_ended_is_closed_and_in_no_tally() {
    let world = World { expired: vec!["over", "stale", "broken"], ..World::default() };
    let run = world
        .session(
            "a",
            &[("well", OLD, &[200]), ("over", OLD, &[204]), ("stale", OLD, &[410]), ("broken", OLD, &[500])],
        )
        .deliver(&["a"], None, LONG..LONGER)
        .await;
    run.result.as_ref().unwrap();
    assert_eq!((run.tallies(), run.posts.len()), (vec![(1, 0, 0)], 1));
    assert_eq!(run.closed, ["broken", "stale", "over"], "each once");
    assert_eq!(run.deleted, ["stale"], "the others' rows go with their sockets");
    assert_eq!((run.report.closed, run.report.close_failures.count), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_token_has_ended_does_not_fail_for_want_of_time() {
    let world = World { expired: vec!["over"], ..World::default() };
    let run = world
        .session("a", &[("a1", OLD, &[200]), ("over", OLD, &[204])])
        .deliver(&["a"], None, Duration::ZERO..LONG)
        .await;
    assert_eq!((run.tallies(), run.closed.len()), (vec![(0, 0, 1)], 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_message_until_another_is_closed() {
    let names: Vec<&'static str> = (0..8).map(|n| &*format!("c{n}").leak()).collect();
    let rows: Vec<_> = names.iter().map(|name| (*name, OLD, &[204][..])).collect();
    let run = World { expired: names, ..World::default() }
        .session("a", &rows)
        .session("a", &[("a1", OLD, &[200]), ("a2", OLD, &[200])])
        .session("b", &[("b1", OLD, &[429, 200])])
        .deliver(&["a", "b"], None, LONG..LONGER)
        .await;
    assert_eq!((run.tallies(), run.closed.len()), (vec![(2, 0, 0), (1, 0, 0)], 8));
    assert!(run.posted_before_closing >= Some(3), "{:?}", run.posted_before_closing);
}

#[tokio::test(start_paused = true)]
async fn the_senders_own_connection_stays_open_for_its_receipt() {
    let run = World { expired: vec!["me", "over"], ..World::default() }
        .session("a", &[("me", OLD, &[204]), ("over", OLD, &[204])])
        .deliver(&["a"], Some("me"), LONG..LONGER)
        .await;
    assert_eq!((run.tallies(), run.closed), (vec![(0, 0, 0)], vec!["over".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn one_fan_out_closes_so_many_connections_and_leaves_the_rest_to_the_next() {
    let names: Vec<&'static str> = (0..=MOST_CLOSED).map(|n| &*format!("c{n}").leak()).collect();
    let rows: Vec<_> = names.iter().map(|name| (*name, OLD, &[204][..])).collect();
    let world = World { expired: names.clone(), ..World::default() };
    let run = world.session("a", &rows).deliver(&["a"], None, LONG..LONGER).await;
    assert_eq!((run.closed.len(), run.tallies()), (MOST_CLOSED, vec![(0, 0, 0)]));
}

#[tokio::test(start_paused = true)]
async fn throttles_and_server_errors_are_retried_until_they_pass() {
    let run = World::default()
        .session("a", &[("throttled", OLD, &[429, 429, 429, 200]), ("erring", OLD, &[500, 503, 504, 200])])
        .deliver(&["a"], None, LONG..LONGER)
        .await;
    assert_eq!(run.tallies(), [(2, 0, 0)]);
    assert_eq!(run.report.retries, 6);
}

#[tokio::test(start_paused = true)]
async fn what_no_retry_can_mend_fails_at_once_and_alone() {
    let run = World::default()
        .session(
            "a",
            &[
                ("denied", OLD, &[403]),
                ("large", OLD, &[413]),
                ("malformed", OLD, &[400]),
                ("well", OLD, &[200]),
            ],
        )
        .deliver(&["a"], None, LONG..LONGER)
        .await;
    assert_eq!(run.tallies(), [(1, 0, 3)]);
    assert_eq!(run.posts.values().copied().collect::<Vec<_>>(), [1, 1, 1, 1]);
    assert_eq!(run.report.delivery_failures.count, 3);
    assert!(run.took < Duration::from_secs(1), "{:?}", run.took);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_recovers_fails_by_the_deadline_and_holds_up_nobody() {
    let throttled: Vec<String> = (0..8).map(|n| format!("throttled{n}")).collect();
    let mut rows: Vec<(&str, i64, &[u16])> =
        throttled.iter().map(|id| (id.as_str(), OLD, &[429][..])).collect();
    rows.push(("well", OLD, &[200]));
    let run = World::default().session("a", &rows).deliver(&["a"], None, LONG..LONGER).await;
    assert_eq!(run.tallies(), [(1, 0, 8)]);
    assert!(run.took <= LONG, "{:?}", run.took);
    let cause = run.report.delivery_failures.first_cause.unwrap();
    assert!(cause.contains("the time ran out after"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn with_no_time_left_to_post_recipients_are_still_read_and_counted_as_failed() {
    let run = World::default()
        .session("a", &[("a1", OLD, &[200])])
        .session("a", &[("a2", OLD, &[200])])
        .deliver(&["a"], None, Duration::ZERO..LONG)
        .await;
    run.result.as_ref().unwrap();
    assert_eq!((run.posts.len(), run.tallies()), (0, vec![(0, 0, 2)]));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_cannot_be_read_is_a_failure_after_the_first_page_was_delivered() {
    let run = World::default()
        .session("a", &[("a1", OLD, &[200]), ("a2", OLD, &[429, 200])])
        .broken_page("a")
        .deliver(&["a"], None, LONG..LONGER)
        .await;
    assert!(matches!(run.result, Err(Failure::Table { .. })), "{:?}", run.result);
    assert_eq!(run.tallies(), [(2, 0, 0)], "the report says how far it came");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_the_condition_keeps_is_no_trouble() {
    let rule = mock!(dynamodb::Client::delete_item).then_error(|| {
        DeleteItemError::ConditionalCheckFailedException(ConditionalCheckFailedException::builder().build())
    });
    let client = mock_client!(dynamodb, RuleMode::MatchAny, [&rule]);
    let registry = Registry::from_conf(client.config().to_builder(), &config());
    assert_eq!(registry.prune("c").await.unwrap(), Prune::Kept);
}
