//! A connection that ends while it subscribes: in whatever order the calls meet, no row is left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use harness::{Answer, Call, Function, Operation, Row};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    ALICE, Members, OWN, THROTTLE, ask, calls, counts, disconnect, hold, kind, lay, names, puts, repair, set,
    subscriptions,
};
use crate::support::{AMPLE, SENDER, frame, line, log, name, totals, until};

/// Two functions whose calls are served in turns.
struct Turns {
    gates: [Arc<Semaphore>; 2],
    /// How many calls of each have arrived, and how many of each have ended.
    arrived: Arc<[AtomicUsize; 2]>,
    ended: [AtomicUsize; 2],
}

impl Turns {
    /// The calls of one function are those that `whose` gives its number; what belongs to neither is served at once.
    fn new(members: &Members, whose: impl Fn(&Call) -> Option<usize> + Clone + Send + 'static) -> Self {
        let gates = [(); 2].map(|()| Arc::new(Semaphore::new(0)));
        let arrived: Arc<[AtomicUsize; 2]> = Arc::default();
        for table in [&members.world().table, &members.world().subscriptions] {
            let (gates, arrived, whose) = (gates.clone(), arrived.clone(), whose.clone());
            table.call_script(move |call, _| match whose(call) {
                Some(index) => {
                    arrived[index].fetch_add(1, Ordering::SeqCst);
                    Answer::Serve.once(&gates[index])
                }
                None => Answer::Serve,
            });
        }
        Self { gates, arrived, ended: [(); 2].map(|()| AtomicUsize::new(0)) }
    }

    fn arrived(&self, index: usize) -> usize {
        self.arrived[index].load(Ordering::SeqCst)
    }

    fn has_ended(&self, index: usize) -> bool {
        self.ended[index].load(Ordering::SeqCst) > 0
    }

    fn end(&self, index: usize) {
        self.ended[index].fetch_add(1, Ordering::SeqCst);
    }

    /// Serves one call for each turn, and all that are left at the end. A function that has ended is passed over.
    async fn take(&self, turns: &[usize]) {
        for (number, &index) in turns.iter().enumerate() {
            let served = turns[..number].iter().filter(|turn| **turn == index).count();
            until(|| self.arrived(index) > served || self.has_ended(index)).await;
            self.gates[index].add_permits(1);
            until(|| self.arrived(index) > served + 1 || self.has_ended(index)).await;
        }
        self.gates.iter().for_each(|gate| gate.add_permits(100));
    }
}

/// Every order of `count` turns of the first function and as many of the second as `other` says.
fn orders(count: usize, other: usize) -> Vec<Vec<usize>> {
    let all = 0..1_usize << (count + other);
    let order = |bits: usize| (0..count + other).map(|turn| bits >> turn & 1).collect::<Vec<_>>();
    all.filter(|bits| bits.count_ones() as usize == other).map(order).collect()
}

/// Lets the connection ask for `action` and end at the same time, in this order, and returns the answer. Nothing is left of it.
async fn race(
    members: &Members,
    ending: &Function,
    whose: impl Fn(&Call) -> Option<usize> + Clone + Send + 'static,
    turns: &[usize],
    (action, sessions): (&str, &[String]),
) -> Value {
    let order = Turns::new(members, whose);
    let asking = async {
        let answer = members.ask(action, sessions).await;
        order.end(0);
        answer
    };
    let leaving = async {
        let outcome = disconnect(ending, ALICE).await;
        order.end(1);
        outcome
    };
    let (answer, outcome, ()) = tokio::join!(asking, leaving, order.take(turns));
    assert_eq!(outcome.response()["statusCode"], 200);
    assert_eq!(members.world().table.row(ALICE), None, "{turns:?}: a row was invented or left");
    assert_eq!(members.subscriptions()[1], set(&[]), "{turns:?}");
    answer
}

/// A disconnect's own calls; the removal of rows is served at once, since the other may do that too.
fn ends(call: &Call) -> bool {
    call.operation == Operation::DeleteItem
}

#[tokio::test]
async fn in_whatever_order_a_connection_subscribes_and_ends_no_row_is_left() {
    for known in [0, 2] {
        let members = Members::start().await;
        let ending = Function::start("disconnect", members.world()).await;
        let (mut subscribed, mut refused) = (0, 0);
        for turns in orders(4, 3) {
            repair(members.world());
            members.world().table.put(ALICE, Row::aged(OWN, 60));
            lay(members.world(), ALICE, &names(0..known));
            let whose = |call: &Call| match call.operation {
                _ if ends(call) => Some(1),
                Operation::BatchWriteItem if !puts(call) => None,
                _ => Some(0),
            };
            let answer = race(&members, &ending, whose, &turns, ("subscribe", &names(1..4))).await;
            match kind(&answer) {
                "subscribed" => subscribed += 1,
                "not_connected" => refused += 1,
                other => panic!("{turns:?}: {other}"),
            }
        }
        assert!(subscribed > 0 && refused > 0, "{subscribed} {refused}");
        log(&ending.finish());
        members.log();
    }
}

#[tokio::test]
async fn in_whatever_order_a_connection_unsubscribes_and_ends_no_row_is_left() {
    let members = Members::start().await;
    let ending = Function::start("disconnect", members.world()).await;
    for turns in orders(2, 3) {
        repair(members.world());
        members.world().table.put(ALICE, Row::aged(OWN, 60));
        lay(members.world(), ALICE, &names(0..4));
        let whose = |call: &Call| match call.operation {
            _ if ends(call) => Some(1),
            Operation::UpdateItem => Some(0),
            // Of those two, only the first one is gone before the set is looked at.
            _ => None,
        };
        let answer = race(&members, &ending, whose, &turns, ("unsubscribe", &names(2..6))).await;
        assert!(["unsubscribed", "not_connected"].contains(&kind(&answer)), "{answer}");
    }
    log(&ending.finish());
    members.log();
}

/// A hundred rows are four batches: the disconnect comes between any two of them.
#[tokio::test]
async fn a_disconnect_between_two_batches_leaves_no_row() {
    for done in 0..4 {
        let members = Members::start().await;
        let ending = Function::start("disconnect", members.world()).await;
        let gate = hold(&members.world().subscriptions, puts);
        gate.add_permits(done);
        let rows = || members.world().subscriptions.sessions(ALICE).len();
        let sessions = names(0..100);
        let leaving = async {
            until(|| calls(&members.world().subscriptions, puts) == 4 && rows() >= done * 25).await;
            assert_eq!(disconnect(&ending, ALICE).await.response()["statusCode"], 200);
            assert_eq!(rows(), 0, "those that were written");
            gate.add_permits(4);
        };
        let (answer, ()) = tokio::join!(members.ask("subscribe", &sessions), leaving);
        assert_eq!(kind(&answer), "not_connected");
        assert_eq!((members.world().table.row(ALICE), rows()), (None, 0), "{done}");
        log(&ending.finish());
        members.log();
    }
}

/// The one that fails takes back what is new. Known names have a row again by then, and no connection any more.
#[tokio::test]
async fn a_disconnect_while_one_batch_is_late_and_another_fails_leaves_no_row() {
    let members = Members::start().await;
    let world = members.world();
    lay(world, ALICE, &names(0..10));
    let ending = Function::start("disconnect", world).await;
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    world.subscriptions.call_script(move |call, _| {
        let known = call.input.to_string().contains("room-000");
        match (puts(call), known) {
            (true, true) => Answer::Serve.once(&held),
            (true, false) => Answer::Error(400, "AccessDeniedException"),
            _ => Answer::Serve,
        }
    });
    let leaving = async {
        until(|| calls(&world.subscriptions, puts) == 2).await;
        assert_eq!(disconnect(&ending, ALICE).await.response()["statusCode"], 200);
        gate.add_permits(1);
    };
    let sessions = names(0..40);
    let (answer, ()) = tokio::join!(members.ask("subscribe", &sessions), leaving);
    assert!(["internal", "not_connected"].contains(&kind(&answer)), "{answer}");
    assert_eq!((world.table.row(ALICE), members.subscriptions()[1].len()), (None, 0));
    log(&ending.finish());
    members.log();
}

#[tokio::test]
async fn a_disconnect_removes_every_row_also_where_answers_are_lost_or_late() {
    let troubles = [THROTTLE, Answer::CutRead, Answer::CutUnread, Answer::Error(500, "InternalServerError")];
    for of_rows in [false, true] {
        for trouble in &troubles {
            for count in [0, 3, 100] {
                let members = Members::start().await;
                let world = members.world();
                lay(world, ALICE, &names(0..count));
                world.table.put("bob=", Row::aged("bob", 60));
                lay(world, "bob=", &names(0..5));
                let ending = Function::start("disconnect", world).await;
                let table = if of_rows { &world.subscriptions } else { &world.table };
                let answer = trouble.clone();
                table.call_script(move |_, count| if count < 3 { answer.clone() } else { Answer::Serve });
                assert_eq!(disconnect(&ending, ALICE).await.response()["statusCode"], 200);
                let what = format!("{trouble:?} {count} {of_rows}");
                assert_eq!((world.table.row(ALICE), members.subscriptions()[1].len()), (None, 0), "{what}");
                assert_eq!(subscriptions(world, "bob="), [(); 2].map(|()| set(&names(0..5))), "{what}");
                log(&ending.finish());
            }
        }
    }
}

#[tokio::test]
async fn each_answer_of_a_disconnect_may_be_lost_and_no_row_is_left() {
    for lost in 0..4 {
        let members = Members::start().await;
        let world = members.world();
        lay(world, ALICE, &names(0..30));
        let ending = Function::start("disconnect", world).await;
        world.table.script(move |_, count| if count == lost { Answer::CutRead } else { Answer::Serve });
        world
            .subscriptions
            .script(move |_, count| if count == lost { Answer::CutRead } else { Answer::Serve });
        world.subscriptions.batch_script(|_, batch| if batch < 3 { 7 } else { 0 });
        assert_eq!(disconnect(&ending, ALICE).await.response()["statusCode"], 200);
        assert_eq!((world.table.row(ALICE), members.subscriptions()[1].len()), (None, 0), "{lost}");
        log(&ending.finish());
    }
}

#[tokio::test]
async fn a_disconnect_that_cannot_remove_the_rows_is_a_failure_and_a_send_prunes_them() {
    let members = Members::start().await;
    let world = members.world();
    lay(world, ALICE, &names(0..3));
    let ending = Function::start("disconnect", world).await;
    world.subscriptions.script(|_, _| Answer::Error(500, "InternalServerError"));
    assert_eq!(disconnect(&ending, ALICE).await.error()["errorType"], "internal");
    assert_eq!(line(&log(&ending.finish()), "failed")["cause"], "table");
    repair(world);
    world.gateway.script(|_, _| Answer::Bare(410));
    let sessions = names(0..3);
    let sessions: Vec<&str> = sessions.iter().map(String::as_str).collect();
    assert_eq!(totals(&frame(&members.hub.send(&sessions, AMPLE).await)), [0, 3, 0]);
    assert_eq!((world.table.row(ALICE), members.subscriptions()[1].len()), (None, 0));
    members.log();
}

#[tokio::test]
async fn a_connection_without_subscriptions_and_one_that_is_unknown_end_without_a_call_of_their_table() {
    let members = Members::start().await;
    let ending = Function::start("disconnect", members.world()).await;
    for connection in [ALICE, "nobody="] {
        assert_eq!(disconnect(&ending, connection).await.response()["statusCode"], 200);
    }
    assert_eq!(members.world().table.row(ALICE), None);
    assert!(members.world().subscriptions.calls().is_empty());
    assert_eq!(line(&log(&ending.finish()), "started")["level"], "INFO");
}

/// An hour of a busy connection in a second: its frames and its end come at once, again and again.
#[tokio::test]
async fn many_frames_and_the_end_at_once_leave_nothing() {
    let members = Members::start().await;
    let world = members.world();
    let ending = Function::start("disconnect", world).await;
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(Function::start("membership", world).await);
    }
    let [one, two, three, four] = &processes[..] else { panic!("four processes") };
    for round in 0..40_u64 {
        let connection = &name("busy", usize::try_from(round).expect("few"));
        world.table.put(connection, Row::aged("busy", 60));
        let pause = Duration::from_micros(round * 313 % 9_000);
        let leaving = async {
            tokio::time::sleep(pause).await;
            disconnect(&ending, connection).await
        };
        let (few, more, most) = (names(0..10), names(10..50), names(50..100));
        let (.., outcome) = tokio::join!(
            ask(one, connection, "subscribe", &few),
            ask(two, connection, "subscribe", &more),
            ask(three, connection, "subscribe", &most),
            ask(four, connection, "hello", &[]),
            leaving
        );
        assert_eq!(outcome.response()["statusCode"], 200);
        assert_eq!(world.table.row(connection), None, "{round}");
        assert_eq!(subscriptions(world, connection)[1], set(&[]), "{round}");
    }
    assert!(counts(&world.subscriptions, Operation::BatchWriteItem) > 40);
    assert_eq!(world.table.row(SENDER).map(|row| json!(row.session)), Some(json!("senders")));
    for process in processes {
        log(&process.finish());
    }
    members.log();
}
