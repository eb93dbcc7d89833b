//! Events that meet each other in the worst order, a hundred times each.

use std::{sync::Arc, time::Duration};

use harness::{Answer, Function, Operation};
use tokio::sync::Semaphore;

use crate::{
    connecting::{CONNECT, DISCONNECT, event},
    support::{AMPLE, Hub, frame, name, now_ms, totals, until},
};

const ROUNDS: usize = 100;

struct Race {
    hub: Hub,
    connect: Function,
    disconnect: Function,
}

impl Race {
    async fn start() -> Self {
        let hub = Hub::new().await;
        let connect = Function::start("connect", &hub.world).await;
        let disconnect = Function::start("disconnect", &hub.world).await;
        Self { hub, connect, disconnect }
    }

    async fn connect(&self, connection: &str, session: &str) {
        let outcome = self.connect.invoke(event(CONNECT, connection, session, now_ms()), AMPLE).await;
        assert_eq!(outcome.response()["statusCode"], 200);
    }

    async fn disconnect(&self, connection: &str) {
        let outcome = self.disconnect.invoke(event(DISCONNECT, connection, "", now_ms()), AMPLE).await;
        assert_eq!(outcome.response()["statusCode"], 200);
    }

    async fn send(&self, session: &str) -> [u64; 3] {
        totals(&frame(&self.hub.send(&[session], AMPLE).await))
    }

    /// Holds back what `operation` asks of the table until the test gives a permit for it.
    fn hold(&self, operation: Operation) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        let held = gate.clone();
        self.hub.world.table.script(move |asked, _| match asked == operation {
            true => Answer::Serve.once(&held),
            false => Answer::Serve,
        });
        gate
    }
}

#[tokio::test]
async fn a_disconnect_before_the_connect_was_written_leaves_a_row_that_a_send_prunes_after_the_grace() {
    let race = Race::start().await;
    race.hub.world.gateway.script(|_, _| Answer::Bare(410));
    let gate = race.hold(Operation::PutItem);
    for round in 0..ROUNDS {
        let connection = name("alice", round);
        let leaving = async {
            race.disconnect(&connection).await;
            gate.add_permits(1);
        };
        tokio::join!(race.connect(&connection, "alice"), leaving);
        assert!(race.hub.has_row(&connection), "the write came last");
        race.hub.world.table.age(&connection, Duration::from_secs(11));
    }
    assert_eq!(race.send("alice").await, [0, ROUNDS as u64, 0]);
    assert_eq!(race.hub.deletions().len(), 2 * ROUNDS, "once by each $disconnect, once by the send");
    assert_eq!(race.send("alice").await, [0, 0, 0]);
}

#[tokio::test]
async fn a_send_during_the_handshakes_keeps_their_rows_and_the_next_one_is_delivered() {
    let race = Race::start().await;
    // Until a handshake has ended, the gateway answers 410: here to the two posts of the first send.
    race.hub.world.gateway.script(|_, before| if before < 2 { Answer::Bare(410) } else { Answer::Serve });
    for round in 0..ROUNDS {
        race.connect(&name("alice", round), "alice").await;
    }
    assert_eq!(race.send("alice").await, [0, ROUNDS as u64, 0]);
    assert_eq!(race.send("alice").await, [ROUNDS as u64, 0, 0]);
}

#[tokio::test]
async fn a_connect_and_a_send_at_once_count_the_connection_or_not_and_never_harm_it() {
    let race = Race::start().await;
    for round in 0..ROUNDS {
        let (connection, session) = (name("alice", round), format!("alice-{round}"));
        let ((), [delivered, gone, failed]) =
            tokio::join!(race.connect(&connection, &session), race.send(&session));
        assert_eq!(([gone, failed], race.hub.posts_to(&connection).len() as u64), ([0, 0], delivered));
        assert_eq!(race.send(&session).await, [1, 0, 0]);
    }
}

#[tokio::test]
async fn a_disconnect_between_reading_and_posting_is_gone_and_nothing_else() {
    let race = Race::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    race.hub.world.gateway.script(move |_, before| match before {
        0 => Answer::Bare(410).once(&held),
        _ => Answer::Bare(410),
    });
    let names: Vec<String> = (0..ROUNDS).map(|round| name("alice", round)).collect();
    for connection in &names {
        race.connect(connection, "alice").await;
        race.hub.world.table.age(connection, Duration::from_secs(60));
    }
    let leaving = async {
        until(|| !race.hub.world.gateway.posts().is_empty()).await;
        for connection in &names {
            race.disconnect(connection).await;
        }
        gate.add_permits(ROUNDS);
    };
    let (counts, ()) = tokio::join!(race.send("alice"), leaving);
    assert_eq!(counts, [0, ROUNDS as u64, 0]);
    assert_eq!(race.send("alice").await, [0, 0, 0]);
}

#[tokio::test]
async fn the_same_connection_id_again_belongs_to_its_last_session() {
    let race = Race::start().await;
    let connection = name("alice", 0);
    for round in 0..ROUNDS {
        race.connect(&connection, &format!("alice-{round}")).await;
    }
    let last = format!("alice-{}", ROUNDS - 1);
    assert_eq!(race.send("alice-0").await, [0, 0, 0]);
    assert_eq!(race.send(&last).await, [1, 0, 0]);
    race.disconnect(&connection).await;
    race.disconnect(&connection).await;
    assert_eq!(race.send(&last).await, [0, 0, 0]);
}
